"""Reasoning formats: which one a model has, and what thoughts are exempt from."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from tokenizers import Tokenizer

from jaxchat import v1
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.response.choice import ChoiceBuilder, ChoiceOptions
from jaxchat.chat.response.reasoning import (
    REASONING_FORMATS,
    check_markers,
    find_reasoning_format,
    register_reasoning_format,
    thought_splitter,
)
from jaxchat.chat.response.thought_tags import COMMAND_A, MISTRAL, SEED_OSS, THINK
from jaxchat.chat.tools.harmony_reasoning import HARMONY_REASONING
from jaxchat.chat.tools.hermes import HERMES
from jaxchat.errors import ModelError
from jaxchat.registry import RegistryError
from jaxchat.types import TokenEvent
from tests.chat.prompt import tokenizers as small
from tests.chat.response.thinking import joined, said, tokenizer, tokens_of
from tests.chat.templates import source

CALL = '<tool_call>\n{"name": "f_1", "arguments": {}}\n</tool_call>'


@dataclass(frozen=True)
class OldFormat:
    """A format for the parsers of text of earlier versions."""

    markers: tuple[str, ...] = ()

    def recognises(self, template: str) -> bool:
        return False

    def parser(self, answer: object) -> object:
        return answer


def test_the_template_tells() -> None:
    assert find_reasoning_format("auto", source("harmony")) is HARMONY_REASONING
    assert find_reasoning_format("auto", source("qwen")) is THINK
    assert find_reasoning_format("auto", source("phi")) is None
    assert find_reasoning_format("auto", "{{ '<|START_THINKING|><|END_THINKING|>' }}") is COMMAND_A
    assert find_reasoning_format("auto", "{{ '<seed:think>' }}{{ '</seed:think>' }}") is SEED_OSS
    assert find_reasoning_format("auto", "{{ content.split('</think>')[-1] }}") is THINK
    assert find_reasoning_format("none", source("harmony")) is None
    assert find_reasoning_format("harmony", "") is REASONING_FORMATS.get("harmony")
    with pytest.raises(RegistryError, match="unknown reasoning format 'harmonic', did you mean 'harmony'"):
        find_reasoning_format("harmonic", "")


def test_a_format_for_parsers_of_text_gets_an_error() -> None:
    with pytest.raises(RegistryError, match="reasoning format 'old' has no method splitter"):
        register_reasoning_format("old", OldFormat())  # type: ignore[arg-type]


def test_without_the_tokens_thoughts_stay_and_a_named_format_is_an_error() -> None:
    known = tokenizer()
    assert thought_splitter(SEED_OSS, known, np.zeros(0, np.int32)) is None
    check_markers(SEED_OSS, "auto", known)
    check_markers(None, "none", known)
    check_markers(THINK, "think", known)
    with pytest.raises(
        ModelError, match="reasoning_format 'seed-oss': the tokenizer has no added token '<seed:think>'"
    ):
        check_markers(SEED_OSS, "seed-oss", known)
    assert joined(said("<think>a</think>b", SEED_OSS)) == ("", "<think>a</think>b")


def test_stop_strings_apply_to_the_content_alone() -> None:
    deltas = said("<think>stop</think>a stop b", stops=["stop"])
    assert joined(deltas) == ("stop", "a ") and deltas[-1].finish == v1.FINISH_REASON_STOP


def test_a_stop_string_is_found_in_front_of_and_after_thoughts_together() -> None:
    assert joined(said("a[THINK]x[/THINK]bc", MISTRAL, stops=["ab"])) == ("x", "")


def test_min_tokens_count_thoughts_and_protect_only_the_content_of_these_tokens() -> None:
    text = "<think>So.</think>Four."
    count = len(tokens_of(text))
    for min_tokens, expected in ((0, "F"), (count - 2, "F"), (count - 1, "Four."), (99, "Four.")):
        assert joined(said(text, stops=["our"], min_tokens=min_tokens)) == ("So.", expected), min_tokens


def test_entries_are_those_of_content_tokens() -> None:
    entries = [entry for delta in said("<think>\nab</think>\n\nc é", top_logprobs=0) for entry in delta.entries]
    assert b"".join(entry.bytes for entry in entries) == "c é".encode()


@pytest.mark.parametrize("thoughts", ["So", CALL])
def test_calls_are_read_after_thoughts_alone(thoughts: str) -> None:
    deltas = said(f"<think>{thoughts}</think>\n\nYes.\n{CALL}<|im_end|>", calls=HERMES)
    calls = [call for delta in deltas for call in delta.calls]
    assert joined(deltas) == (thoughts, "Yes.") and deltas[-1].finish == v1.FINISH_REASON_TOOL_CALLS
    assert [call.name for call in calls if call.name] == ["f_1"]
    assert json.loads("".join(call.arguments for call in calls)) == {}


@pytest.mark.parametrize(("end", "finish"), [("", "LENGTH"), ("<|im_end|>", "STOP")])
def test_an_answer_may_end_within_its_thoughts(end: str, finish: str) -> None:
    deltas = said(f"<think>So é{end}")
    assert joined(deltas) == ("So é", "")
    assert deltas[-1].finish == v1.FinishReason.Value(f"FINISH_REASON_{finish}")


def test_the_space_that_the_tokenizer_adds_is_removed_once() -> None:
    made = Tokenizer.from_str(small.metaspace("first"))
    made.add_tokens([*THINK.markers])
    known = ChatTokenizer(made.to_str())
    splitter = thought_splitter(THINK, known, np.zeros(0, np.int32))
    builder = ChoiceBuilder(known, ChoiceOptions(splitter=splitter))
    for piece in ("<think>", "\u2581hello", "\u2581hello", "</think>", "\u2581hello"):
        builder.feed(TokenEvent(1, 0, known.id_of(piece) or 0))
    assert joined([builder.take()]) == ("hello hello", " hello")
