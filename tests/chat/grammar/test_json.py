"""What counts as JSON: white space, strings, numbers, and the end."""

from __future__ import annotations

import pytest

from jaxchat.chat.grammar.constraint import output_constraint
from jaxchat.chat.request.tool_choice import ToolChoice
from jaxchat.errors import ChatError
from tests.chat.grammar.walking import allowed, bundled, constraint_of, empty_row, follows, grammars, request

OBJECT = request(word="object")


ALLOWED = (
    "{}",
    "{ }",
    "{\n}",
    "{\n" + " " * 20 + "}",
    "{\n\t}",
    '{"a" : 1}',
    '{"a":1,\n  "b":[1, {}]}',
    '{"a":-0.512345678}',
    '{"a":12345678901234567}',
)
UNICODE = ('{"\\ud83d\\ude00":"\\u00e9\\n"}', '{"é":null}', '{"a":"\u2028\U0001f600"}')
SPACED = (
    "",
    " {}",
    "{} ",
    "{}\n",
    "{}{}",
    "{  }",
    "{\n\n}",
    "{ \n}",
    "{\n" + " " * 21 + "}",
    '{"a":  1}',
    '{"a":1 \n }',
)
DIGITS = ('{"a":1e5}', f'{{"a":{"1" * 18}}}', '{"a":0.1234567891}', '{"a":[123456789.12345]}')
BROKEN = ("[]", "1", "{'a':1}", '{"a":1,}', '{"a":01}', '{"a":1.}', '{"a":NaN}', '{"a":"\n"}', '{"a":"\x1f"}')
ESCAPES = ("\\ud800", "\\ude00", "\\ud800\\ud800", "\\uDBFFx", "\\x", "\ud800")


@pytest.mark.parametrize("text", [*ALLOWED, *UNICODE])
def test_json_that_is_allowed(text: str) -> None:
    assert follows(OBJECT, text)


@pytest.mark.parametrize("text", [*SPACED, *BROKEN, *DIGITS])
def test_what_is_not_allowed(text: str) -> None:
    assert not follows(OBJECT, text)


@pytest.mark.parametrize("text", ESCAPES)
def test_strings_are_text(text: str) -> None:
    for document in (f'{{"a":"{text}"}}', f'{{"{text}":1}}', f'{{"a":["{text}"]}}'):
        assert not follows(OBJECT, document)


def test_after_the_last_brace_only_the_end_is_allowed() -> None:
    grammar = grammars().compiled(constraint_of(OBJECT))
    constraint, row = grammar.start(), empty_row(bundled())
    for _ in range(2):
        constraint.fill(row)
        token = next(token for token in allowed(row) if bundled().bytes_of(int(token)) in (b"{", b"}"))
        constraint.accept(int(token))
    constraint.fill(row)
    assert set(allowed(row)) == bundled().stop_tokens
    for stop in bundled().stop_tokens:
        other = grammar.start()
        with pytest.raises(ValueError, match="not allowed"):
            other.accept(stop)
    constraint.accept(min(bundled().stop_tokens))
    constraint.fill(row)
    assert set(allowed(row)) == bundled().stop_tokens
    with pytest.raises(ValueError, match="not allowed"):
        constraint.accept(min(bundled().stop_tokens))


@pytest.mark.parametrize("token", [-1, bundled().size, bundled().size + 5, 1])
def test_an_illegal_token_is_an_error(token: int) -> None:
    grammar = grammars().compiled(constraint_of(OBJECT))
    with pytest.raises(ValueError, match="not allowed"):
        grammar.start().accept(token)


def test_the_messages_must_speak_of_json() -> None:
    with pytest.raises(ChatError, match="must contain the word 'json'") as caught:
        grammars().compiled(constraint_of(request(word="object", text="an object, please")))
    assert (caught.value.param, caught.value.code, caught.value.http_status) == ("messages", None, 400)
    parts = request(word="object", text="x")
    parts.messages[0].parts.parts.add(text="as Json")
    assert grammars().compiled(constraint_of(parts))
    assert grammars().compiled(constraint_of(request({}, text="x")))


def test_text_needs_no_grammar() -> None:
    plain = request()
    plain.ClearField("response_format")
    assert output_constraint(plain, ToolChoice()) is None
