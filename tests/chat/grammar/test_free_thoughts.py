"""Grammars of answers that follow thoughts."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from jaxchat import v1
from jaxchat.chat.grammar import GrammarCompiler
from jaxchat.chat.response.reasoning import thought_splitter
from jaxchat.chat.response.thought_tags import THINK
from jaxchat.types import Constraint
from tests.chat.grammar.test_tool_calls import tool_request
from tests.chat.grammar.walking import allowed, constraint_of, empty_row
from tests.chat.response.thinking import tokenizer, tokens_of

OPENING, CLOSING, END = tokens_of("<think></think><|im_end|>")
CALL = '<tool_call>\n{"name": "ping", "arguments": {}}\n</tool_call>'


@cache
def compiler() -> GrammarCompiler:
    return GrammarCompiler(tokenizer(), tokenizer().size)


def json_request() -> v1.ChatCompletionRequest:
    request = v1.ChatCompletionRequest()
    request.messages.add(role=v1.ROLE_USER, text="JSON")
    request.response_format.type = v1.RESPONSE_FORMAT_TYPE_JSON_OBJECT
    return request


def constraint(request: v1.ChatCompletionRequest, prompt: str = "") -> Constraint:
    splitter = thought_splitter(THINK, tokenizer(), np.array(tokens_of(prompt), np.int32))
    return compiler().after_thoughts(constraint_of(request), splitter).start()


def next_tokens(state: Constraint) -> set[int]:
    row = empty_row(tokenizer(), 0)
    state.fill(row)
    return set(allowed(row))


def accepts(state: Constraint, text: str) -> bool:
    """Returns whether every token of a text is in the mask before it, and the answer may end after it."""
    for token in tokens_of(text):
        if token not in next_tokens(state):
            return False
        state.accept(token)
    return END in next_tokens(state)


@pytest.mark.parametrize(
    ("prompt", "text", "allowed"),
    [
        ("", '{"a": 1}', True),
        ("", '<think>So } {.</think>{"a": 1}', True),
        ("", '<think>a</think><think>b</think>{"a": 1}', True),
        ("", 'So.{"a": 1}', False),
        ("", "<think>So.</think>So.", False),
        ("", '{"a"<think>', False),
        ("<think>\n", 'So.</think>{"a": 1}', True),
        ("<think>\n", 'So.\n</think>\n\n{"a": 1}', True),
        ("<think>\n", 'So.\n</think>\n\n\n{"a": 1}', False),
        ("", '\n<think>So.</think>{"a": 1}', True),
        ("", ' {"a": 1}', False),
        ("<think>\n", '{"a": 1}', False),  # still thoughts
        ("<think>\n\n</think>\n\n", '{"a": 1}', True),
    ],
)
def test_a_response_format_binds_the_content_alone(prompt: str, text: str, allowed: bool) -> None:
    assert accepts(constraint(json_request(), prompt), text) == allowed


@pytest.mark.parametrize(("choice", "text"), [("auto", True), ("required", False)])
def test_calls_come_after_thoughts(choice: str, text: bool) -> None:
    request = tool_request(choice=choice)
    assert accepts(constraint(request), f"<think>So {{.</think>{CALL}")
    assert accepts(constraint(request), CALL)
    assert accepts(constraint(request), "<think>So.</think>So be it.") == text
    assert not accepts(constraint(request), f"<think>So.</think>{CALL.replace('ping', 'pong')}")


def test_thoughts_do_not_end_the_answer() -> None:
    state = constraint(json_request(), "<think>\n")
    everything = set(range(tokenizer().size)) - tokenizer().stop_tokens
    assert everything <= next_tokens(state) and END not in next_tokens(state)
    with pytest.raises(ValueError, match="would end the answer within its thoughts"):
        state.accept(END)


def test_a_copy_looks_ahead_across_the_end_of_thoughts() -> None:
    state = constraint(json_request(), "<think>\n")
    for token in tokens_of('So.</think>{"a": 1'):
        mask, ahead = next_tokens(state), state.copy()
        assert ahead
        for later in [token, *tokens_of("}")]:
            if later in next_tokens(ahead):
                ahead.accept(later)
        assert next_tokens(state) == mask
        state.accept(token)
    assert state.is_end(END)


def test_only_the_grammar_forces_tokens() -> None:
    request = v1.ChatCompletionRequest()
    request.structured_outputs.choice.append("one two three")
    state = constraint(request, "<think>\n")
    assert state.forced() == []
    state.accept(CLOSING)
    assert state.forced() == []  # another block of thoughts may follow
    state.accept(tokens_of("o")[0])
    assert state.forced()


def test_without_thoughts_the_grammar_is_the_plain_one() -> None:
    made = constraint_of(json_request())
    assert compiler().after_thoughts(made, None) is compiler().compiled(made)
