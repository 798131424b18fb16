"""The tokens of an earlier run save steps, and never change an answer. Only protobuf has them."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from jaxchat import v1
from jaxchat.engine.step_times import StepTimes
from jaxchat.openai_json import request_from_kwargs
from tests.contract.covering import SEEN, covers, fields_of
from tests.contract.doors import Door
from tests.contract.place import Place

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"x": {}}}}}
KINDS: list[dict[str, Any]] = [
    {"n": 2, "logprobs": True, "top_logprobs": 3},
    {"tools": [TOOL], "tool_choice": "required", "n": 2},
    {"response_format": {"type": "json_object"}, "messages": [{"role": "user", "content": "json"}]},
    {"stop": ["a"], "min_tokens": 3, "ignore_eos": True, "frequency_penalty": 0.5},
]


def complete(place: Place, fields: dict[str, Any], drafts: list[list[int]]) -> v1.ChatCompletion:
    defaults = {"model": place.model, "messages": [{"role": "user", "content": "Hello"}]}
    settings = {"seed": 4, "max_tokens": 40, "return_token_ids": True}
    request = request_from_kwargs(**defaults | settings | fields).request
    request.draft_tokens.extend(v1.DraftTokens(token_ids=draft) for draft in drafts)
    SEEN.sent.update(fields_of(request))
    answer: v1.ChatCompletion = place.stub.Complete(request)
    SEEN.received.update(fields_of(answer))
    return answer


def same(answer: v1.ChatCompletion) -> dict[str, Any]:
    """All of an answer except its id, its time and how much of the prompt was cached."""
    copy = v1.ChatCompletion.FromString(answer.SerializeToString())
    copy.ClearField("id")
    copy.ClearField("created")
    copy.usage.ClearField("prompt_tokens_details")
    return MessageToDict(copy)


@covers("ChatCompletionRequest.draft_tokens", "DraftTokens.token_ids")
@pytest.mark.parametrize("fields", KINDS)
def test_drafts_never_change_the_answer(tiny_place: Place, fields: dict[str, Any]) -> None:
    plain = complete(tiny_place, fields, [])
    tokens = [list(choice.token_ids) for choice in plain.choices]
    assert all(tokens)
    wrong = [[*draft[:10], 3, *draft[11:]] for draft in tokens]
    for drafts in (tokens, tokens[:1], [draft[:7] for draft in tokens], wrong, [[]]):
        assert same(complete(tiny_place, fields, drafts)) == same(plain)
    tiny_place.wait_until_idle()


def test_right_drafts_save_steps(tiny_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StepTimes, "seconds", lambda self, rows, awaited: 1.0)  # drafts depend on free rows alone
    session = tiny_place.session

    def steps(drafts: list[list[int]]) -> tuple[list[int], int]:
        before = session.stats.steps
        answer = complete(tiny_place, {"ignore_eos": True}, drafts)
        tiny_place.wait_until_idle()
        return list(answer.choices[0].token_ids), session.stats.steps - before

    tokens, slow = steps([])
    again, fast = steps([tokens])
    assert again == tokens and fast < slow / 2, (slow, fast)


def test_json_has_no_such_field(echo_place: Place) -> None:
    door: Door = echo_place.door("openai")
    assert door.refused(draft_tokens=[{"token_ids": [1]}]).code == "unknown_parameter"
