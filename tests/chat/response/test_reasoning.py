"""Reasoning formats: thoughts are left out, by name or as the chat template tells."""

from __future__ import annotations

import pytest

from jaxchat.chat.response.choice import ChoiceBuilder, ChoiceOptions
from jaxchat.chat.response.reasoning import REASONING_FORMATS, ThoughtFilter, find_reasoning_format
from jaxchat.chat.tools.harmony import HARMONY, HARMONY_REASONING
from jaxchat.chat.tools.hermes import HERMES
from jaxchat.chat.tools.stream_parser import CallPart, Segment, StreamParser
from jaxchat.registry import RegistryError
from jaxchat.types import TokenEvent
from tests.chat.grammar.test_tool_writer import tokenizer
from tests.chat.templates import source

ANSWER = "<|channel|>analysis<|message|>So.<|end|><|start|>assistant<|channel|>final<|message|>Four."


class Tags(StreamParser):
    """Thoughts between brackets."""

    def __init__(self) -> None:
        super().__init__(self._answer, forced=False)

    def _answer(self, pieces: list[Segment]) -> bool:
        return self.take_until("[[", self._thought, pieces, visible=True)

    def _thought(self, pieces: list[Segment]) -> bool:
        return self.take_until("]]", self._answer, pieces, visible=False)

    def flush(self) -> str:
        text, self._held = self._held, ""
        return text if self._step == self._answer else ""


def test_the_template_tells():
    assert find_reasoning_format("auto", source("harmony")) is HARMONY_REASONING
    assert find_reasoning_format("auto", source("qwen")) is None
    assert find_reasoning_format("none", source("harmony")) is None
    assert find_reasoning_format("harmony", "") is REASONING_FORMATS.get("harmony")
    with pytest.raises(RegistryError, match="unknown reasoning format 'harmonic', did you mean 'harmony'"):
        find_reasoning_format("harmonic", "")


@pytest.mark.parametrize("calls", [HARMONY, HERMES, None])
def test_thoughts_in_harmony_are_left_out_whatever_the_format_of_calls(calls):
    known = tokenizer(True)
    builder = ChoiceBuilder(known, ChoiceOptions(calls=calls, reasoning=HARMONY_REASONING, callable=False))
    for token in known.encode(ANSWER):
        builder.feed(TokenEvent(0, 0, token, None, 0.0, None))
    assert builder.take().text == "Four."


def test_min_tokens_count_thoughts_and_protect_only_the_content_of_these_tokens():
    known = tokenizer(True)
    tokens = known.encode(ANSWER)
    for min_tokens, expected in ((0, "F"), (len(tokens) - 2, "F"), (len(tokens) - 1, "Four."), (99, "Four.")):
        options = ChoiceOptions(reasoning=HARMONY_REASONING, stops=("our",), min_tokens=min_tokens)
        builder = ChoiceBuilder(known, options)
        for token in tokens:
            if not builder.finished:
                builder.feed(TokenEvent(0, 0, token, None, 0.0, None))
        assert builder.take().text == expected, min_tokens


@pytest.mark.parametrize("size", [1, 3, 200])
def test_calls_are_read_from_what_is_not_a_thought(size):
    call = '<tool_call>\n{"name": "f_1", "arguments": {}}\n</tool_call>'
    text = f"[[{call}]]Yes [no].{call}"
    parser = ThoughtFilter(Tags(), HERMES.parser(callable=True, forced=False))
    pieces = [piece for start in range(0, len(text), size) for piece in parser.feed(text[start : start + size])]
    assert "".join(piece for piece in pieces if isinstance(piece, str)) + parser.flush() == "Yes [no]."
    assert [piece.name for piece in pieces if isinstance(piece, CallPart) and piece.name] == ["f_1"]
    assert parser.complete == 1


def test_what_only_begins_like_a_thought_is_content():
    parser = ThoughtFilter(Tags(), None)
    assert parser.feed("a [") == ["a "] and parser.flush() == "["
