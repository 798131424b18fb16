"""Predictions save steps, are counted by what the answer repeats of them, and never change an answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from jaxchat.engine.step_times import StepTimes
from tests.contract.answers import Answer
from tests.contract.covering import covers
from tests.contract.doors import Door
from tests.contract.echo import SPLIT
from tests.contract.place import Place
from tests.contract.tokens import SIZE, TOKENIZER

LETTERS = {str(id_): -100.0 for id_ in range(SIZE) if not (data := TOKENIZER.bytes_of(id_)).isalpha() or len(data) > 1}
ASKED = dict(max_tokens=30, seed=4, logprobs=True, top_logprobs=5, logit_bias=LETTERS, return_token_ids=True)
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"x": {}}}}}


def predicting(content: Any) -> dict[str, Any]:
    return {"prediction": {"type": "content", "content": content}}


def same(answer: Answer) -> tuple:
    """All of an answer that two equal requests share."""
    return answer.choices, answer.usage, answer.seed, answer.prompt_token_ids


@covers("ChatCompletionRequest.prediction")
def test_a_prediction_never_changes_the_answer(door: Door) -> None:
    plain = door.ask(**ASKED, n=2)
    assert plain.text and plain.text.isalpha() and plain.predicted is None
    for text in (plain.text, plain.text[:15] + "zz" + plain.text[17:], "hello there"):
        predicted = door.ask(**ASKED, n=2, **predicting(text))
        assert same(predicted) == same(plain)
        assert predicted.predicted and sum(predicted.predicted) == 2 * len(TOKENIZER.encode_text(text))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"response_format": {"type": "json_object"}, "messages": [{"role": "user", "content": "json"}]}, '{"x": 1}'),
        ({"structured_outputs": {"choice": ["left", "right"]}}, "right"),
        ({"tools": [TOOL], "tool_choice": "required"}, '<tool_call>\n{"name": "f", "arguments": {"x": 1}}'),
        ({"stop": ["a"], "min_tokens": 3, "ignore_eos": True}, "abcd" * 9),
    ],
)
def test_a_prediction_goes_with_every_other_field(tiny_place: Place, fields: dict, text: str) -> None:
    door = tiny_place.door("client stream")
    asked = dict(max_tokens=40, seed=1, logprobs=True) | fields
    assert same(door.ask(**asked, **predicting(text))) == same(door.ask(**asked))
    tiny_place.wait_until_idle()


def test_a_right_prediction_saves_steps(tiny_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StepTimes, "seconds", lambda self, rows, awaited: 1.0)  # drafts depend on free rows alone
    door, session = tiny_place.door("client"), tiny_place.session

    def ask(**prediction: Any) -> tuple[str, int]:
        before = session.stats.steps
        text = door.ask(**ASKED, **prediction).text or ""
        tiny_place.wait_until_idle()
        return text, session.stats.steps - before

    text, steps = ask()
    again, saving = ask(**predicting(text))
    assert again == text and saving < steps / 2, (steps, saving)


def test_usage_is_the_same_alone_and_under_load(tiny_place: Place) -> None:
    door = tiny_place.door("client stream")
    asked = ASKED | predicting((door.ask(**ASKED).text or "")[:20] + "zz")
    alone = door.ask(**asked)
    with ThreadPoolExecutor(6) as pool:
        loaded = list(pool.map(lambda _: door.ask(**asked), range(12)))
    assert alone.predicted and alone.predicted[0] >= 15
    assert {answer.predicted for answer in loaded} == {alone.predicted}
    assert all(same(answer) == same(alone) for answer in loaded)
    tiny_place.wait_until_idle()


@covers(
    "Prediction.type",
    "Prediction.text",
    "Prediction.parts",
    "Usage.completion_tokens_details",
    "CompletionTokensDetails.accepted_prediction_tokens",
    "CompletionTokensDetails.rejected_prediction_tokens",
)
def test_usage_counts_what_the_answer_repeats(echo: Door) -> None:
    def counts(answer: str, content: Any, **fields: Any) -> tuple[int, int] | None:
        asked = echo.ask(messages=[{"role": "user", "content": answer}], **predicting(content), **fields)
        assert asked.choices[0].text == answer.split(SPLIT)[0].partition("Z")[0]
        return asked.predicted

    assert counts("abcdefg", "abcdefg") == (7, 0)
    assert counts("abcdefg", "xyz") == (0, 3)
    assert counts("abcdefg", "abcdxyz") == (4, 3)
    assert counts("abcdefg", "abcxyfg") == (4, 3)  # g follows f
    assert counts("abcdefg", [{"type": "text", "text": text} for text in ("ab", "", "cd")]) == (4, 0)
    assert counts(f"abc{SPLIT}xyz", "abc", n=2) == (3, 3)
    assert counts("abZcd", "abZcd", stop="Z") == (3, 2)  # sampled, though not shown
    assert counts("abc", "<|im_end|>") == (0, 10)  # text, not the token that ends the answer
    assert counts("abc", "") is None
    assert counts("abc", [{"type": "text", "text": ""}]) is None
