"""Text completions and token ids by the typed clients and the `openai` package: the answers of the bare stub."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.completion_create_params import CompletionCreateParamsBase

from jaxchat.client import TextCompletion
from jaxchat.errors import ChatError
from jaxchat.openai_json import text_completion_to_json, text_request_from_json, tokenize_from_json
from jaxchat.openai_json.text import TEXT_REQUEST
from tests.contract.place import Place

FIXED: dict[str, Any] = {"model": "tiny", "prompt": ["Hello", [1, 2, 3]], "seed": 3, "max_tokens": 6}
MORE: dict[str, Any] = {"logprobs": 2, "echo": True, "return_token_ids": True}
KINDS = ("client", "in_process")


def content(value: dict[str, Any]) -> dict[str, Any]:
    return {**value, "id": "", "created": 0}


def stub_answer(place: Place, **fields: Any) -> dict[str, Any]:
    return content(text_completion_to_json(place.stub.CompleteText(text_request_from_json(fields).request)))


@pytest.mark.parametrize("kind", KINDS)
def test_typed_answers_are_those_of_the_stub(tiny_place: Place, kind: str) -> None:
    client, expected = getattr(tiny_place, kind), stub_answer(tiny_place, **FIXED, **MORE)
    answer = client.completions.create(**FIXED, **MORE)
    without_cache = {key: value for key, value in expected.items() if key != "usage"}
    assert {key: value for key, value in content(answer.model_dump()).items() if key != "usage"} == without_cache
    assert isinstance(answer, TextCompletion) and answer.seed_used == 3 and answer.usage.prompt_tokens == 8
    first, second = answer.choices
    assert first.text.startswith("Hello") and first.prompt_token_ids and second.prompt_token_ids == (1, 2, 3)
    logprobs = first.logprobs
    assert logprobs.entries[0].logprob is None and logprobs.token_logprobs[0] is None
    assert [entry.token for entry in logprobs.entries] == list(logprobs.tokens)
    assert all(len(entry.top_logprobs) == 2 for entry in logprobs.entries[1:])
    assert logprobs.model_dump() == expected["choices"][0]["logprobs"]
    assert logprobs.entries[1].model_dump()["token"] == logprobs.tokens[1]


@pytest.mark.parametrize("kind", KINDS)
def test_streams_have_the_same_text(tiny_place: Place, kind: str) -> None:
    client, expected = getattr(tiny_place, kind), stub_answer(tiny_place, **FIXED)
    with client.completions.create(**FIXED, stream=True, stream_options={"include_usage": True}) as stream:
        parts = list(stream)
    for place, choice in enumerate(expected["choices"]):
        own = [said for part in parts for said in part.choices if said.index == place]
        assert "".join(said.text for said in own) == choice["text"]
        assert [said.finish_reason for said in own if said.finish_reason] == [choice["finish_reason"]]
    assert parts[-1].usage.total_tokens == expected["usage"]["total_tokens"]
    assert parts[0].model_dump()["usage"] is None and parts[-1].model_dump()["choices"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_token_ids(tiny_place: Place, kind: str) -> None:
    client = getattr(tiny_place, kind)
    messages = [{"role": "user", "content": "hi"}]
    found = client.tokenize(messages=messages, return_token_strs=True)
    expected = tiny_place.stub.Tokenize(tokenize_from_json({"messages": messages}))
    assert list(found.tokens) == list(expected.tokens) and found.count == len(found.tokens) == len(found.token_strs)
    assert client.detokenize(found.tokens).startswith("<|im_start|>user\nhi<|im_end|>")
    assert client.tokenize(prompt="hi").model_dump()["token_strs"] is None
    empty = client.tokenize(prompt="", add_special_tokens=False, return_token_strs=True)
    assert empty.token_strs == () and empty.model_dump()["token_strs"] == []
    for call in (
        lambda: client.tokenize(prompt="a", mood=1),
        lambda: client.detokenize([10**6]),
        lambda: client.completions.create(model="tiny", prompt="a", suffix="b"),
        lambda: client.completions.create(model="tiny", prompt="a", suffix="b", stream=True),
    ):
        with pytest.raises(ChatError) as caught:
            call()
        assert caught.value.http_status == 400 and caught.value.param in ("mood", "tokens", "suffix")


def test_the_asynchronous_client_gives_the_same(tiny_place: Place) -> None:
    client, expected = tiny_place.asynchronous, stub_answer(tiny_place, **FIXED)

    async def ask() -> tuple[list[str], str, tuple[int, ...], str]:
        answer = await client.completions.create(**FIXED)
        async with await client.completions.create(**FIXED, stream=True) as stream:
            texts = [said.text async for part in stream for said in part.choices if said.index == 0]
        found = await client.tokenize(prompt="hi")
        return (
            [said.text for said in answer.choices],
            "".join(texts),
            found.tokens,
            await client.detokenize(found.tokens),
        )

    texts, streamed, tokens, text = tiny_place.in_process.transport.run(ask())
    assert texts == [choice["text"] for choice in expected["choices"]] and streamed == texts[0]
    assert len(tokens) == 2 and text == "hi"


def test_the_openai_package_reads_answers_and_streams(tiny_place: Place) -> None:
    expected = stub_answer(tiny_place, **FIXED, logprobs=2)
    answer = tiny_place.openai.completions.create(**FIXED, logprobs=2)
    assert [choice.text for choice in answer.choices] == [choice["text"] for choice in expected["choices"]]
    assert answer.choices[0].logprobs.token_logprobs == expected["choices"][0]["logprobs"]["token_logprobs"]
    assert answer.object == "text_completion" and answer.usage.total_tokens == expected["usage"]["total_tokens"]
    lenient = tiny_place.openai.with_options()
    lenient._strict_response_validation = False  # its type requires a finish reason in every part
    parts = list(lenient.completions.create(**FIXED, stream=True))
    first = [choice for part in parts for choice in part.choices if choice.index == 0]
    assert "".join(choice.text for choice in first) == expected["choices"][0]["text"]


def test_every_parameter_of_the_reference_client_is_known() -> None:
    assert set(CompletionCreateParamsBase.__annotations__) - set(TEXT_REQUEST) == set()
