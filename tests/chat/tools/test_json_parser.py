"""Calls come out of the text as they are generated, whole or cut, wherever the text is cut into tokens."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxchat import v1
from jaxchat.chat.response.choice import ChoiceBuilder, ChoiceDelta, ChoiceOptions
from jaxchat.chat.tools.format import TOOL_FORMATS, ToolFormat
from jaxchat.chat.tools.hermes import HERMES
from jaxchat.chat.tools.json_format import JsonToolFormat
from jaxchat.chat.tools.llama3 import LLAMA3
from jaxchat.chat.tools.stream_parser import JsonEnd
from jaxchat.types import TokenEvent
from tests.chat.response.test_choice_splits import TOP, Pieces

WORDS = st.text('ab é{}[]"\\<>/\n', max_size=6) | st.just("</tool_call>")
OBJECTS = st.dictionaries(
    WORDS, st.recursive(WORDS | st.integers(), lambda part: st.lists(part, max_size=2)), max_size=2
)
BLANKS = st.sampled_from(["", " ", "\n  "])


@st.composite
def objects(draw: st.DrawFn, key: str) -> tuple[str, str]:
    """The object of a call whose arguments are under `key`, and the arguments."""
    arguments = json.dumps(draw(OBJECTS), ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    a, b, c = (draw(BLANKS) for _ in range(3))
    return f'{{{a}"name":{b}"f_1",{c}"{key}":{a}{arguments}{b}}}', arguments


NAMES = ("hermes", "llama3", "mistral", "mistral-nemo")  # test_every_format.py tries the others too
FORMATS = {name: value for name, value in TOOL_FORMATS.items() if isinstance(value, JsonToolFormat) and name in NAMES}


@st.composite
def written(draw: st.DrawFn, syntax: str, most: int = 3) -> tuple[str, list[str]]:
    """An answer of up to so many calls, and the arguments of each."""
    most = 1 if syntax == "llama3" else most
    calls = draw(st.lists(objects(FORMATS[syntax].arguments), max_size=most))
    text = ""
    if calls and syntax == "hermes":
        text = "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call, _ in calls)
    elif calls and syntax in ("mistral", "mistral-nemo"):
        text = f"[TOOL_CALLS]{' ' * (syntax == 'mistral')}[{', '.join(call for call, _ in calls)}]"
    elif calls:
        text = draw(st.sampled_from(["", "<|python_tag|>"])) + calls[0][0]
    return text, [arguments for _, arguments in calls]


CONTENT = st.text("ab<é\n ", max_size=8).map(lambda text: text + "." if text.strip() else "")
NAMED = st.sampled_from(sorted(FORMATS))
CUTS = st.lists(st.integers(0, 400), max_size=30)


def deltas(
    text: str, cuts: list[int], finish: Any = "stop", calls: ToolFormat = HERMES, **options: Any
) -> list[ChoiceDelta]:
    """What a reader sees who looks after each token."""
    data = text.encode()
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[a:b] for a, b in pairwise(places)] + [b""]
    tokenizer: Any = Pieces(pieces)
    builder = ChoiceBuilder(tokenizer, ChoiceOptions(calls=calls, **options))
    found = []
    for token in range(len(pieces)):
        builder.feed(TokenEvent(1, 0, token, finish if token == len(pieces) - 1 else None, -0.5, TOP))
        found.append(builder.take())
    return found


def joined(found: list[ChoiceDelta]) -> tuple[str, list[str]]:
    """Content and arguments, after a check that each call opens once, in order, and ends before the next."""
    calls: list[str] = []
    for part in (part for delta in found for part in delta.calls):
        if part.id:
            assert part.index == len(calls) and part.name == "f_1"
            calls.append("")
        assert part.index == len(calls) - 1 and bool(part.id) == bool(part.name)
        calls[-1] += part.arguments
    return "".join(delta.text for delta in found), calls


@settings(max_examples=400, deadline=None)
@given(CONTENT, NAMED, st.data(), CUTS)
def test_fragments_join_to_what_was_generated(content: str, name: str, data: st.DataObject, cuts: list[int]) -> None:
    written_calls, arguments = data.draw(written(name))
    content = "" if arguments and name == "llama3" else content
    text, syntax = content + written_calls, FORMATS[name]
    found = deltas(text, cuts, calls=syntax, top_logprobs=0)
    assert joined(found) == (content, arguments)
    assert found[-1].finish == (v1.FINISH_REASON_TOOL_CALLS if arguments else v1.FINISH_REASON_STOP)
    spelled = b"".join(entry.bytes for delta in found for entry in delta.entries)
    assert spelled.startswith(content.encode()), "entries are those of tokens with content in them"
    bytewise = deltas(text, list(range(len(text.encode()))), calls=syntax, top_logprobs=0)
    assert b"".join(entry.bytes for delta in bytewise for entry in delta.entries) == content.encode()


@settings(max_examples=400, deadline=None)
@given(NAMED, st.data(), CUTS, st.integers(0, 400))
def test_a_cut_answer_keeps_its_fragment_and_leaks_no_syntax(
    name: str, data: st.DataObject, cuts: list[int], end: int
) -> None:
    text, calls = data.draw(written(name, 2).filter(lambda answer: answer[1]))
    text = text[: end % len(text)]
    found = deltas(text, cuts, finish="length", calls=FORMATS[name], forced=True)
    content, arguments = joined(found)
    assert not content and found[-1].finish == v1.FINISH_REASON_LENGTH
    assert all(whole.startswith(part) for part, whole in zip(arguments, calls, strict=False))
    assert all(part == whole for part, whole in zip(arguments[:-1], calls, strict=False))
    assert len(arguments) == text.count('"f_1"')


@pytest.mark.parametrize("text", ["{", ' {\n"na', '{"named": 1}', "[1]", "<|python", "", "\n", 'x {"name": "f_1"'])
def test_what_only_begins_like_a_bare_call_is_content(text: str) -> None:
    for cuts in ([], list(range(len(text)))):
        assert joined(deltas(text, cuts, calls=LLAMA3)) == (text, [])


def test_arguments_come_as_they_are_generated() -> None:
    text = '<tool_call>\n{"name": "f_1", "arguments": {"a": "bc"}}\n</tool_call>'
    fragments = ["".join(part.arguments for part in delta.calls) for delta in deltas(text, list(range(len(text))))]
    assert [part for part in fragments if part] == list('{"a": "bc"}')


def test_stop_strings_are_sought_in_the_content_alone() -> None:
    call = '<tool_call>\n{"name": "f_1", "arguments": {"stop": 1}}\n</tool_call>'
    found = deltas(f"a sto{call}", list(range(90)), stops=["stop", ": 1"])
    assert joined(found) == ("a sto", ['{"stop": 1}'])
    stopped = deltas(f"a stop{call}", [], stops=["stop"])
    assert joined(stopped) == ("a ", []) and stopped[0].finish == v1.FINISH_REASON_STOP


@given(st.lists(OBJECTS, min_size=1, max_size=1), WORDS, CUTS)
def test_an_object_ends_where_its_brackets_do(objects: list[dict[str, Any]], rest: str, cuts: list[int]) -> None:
    text = json.dumps(objects[0])
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    end = JsonEnd()
    for a, b in pairwise(places):
        last = b == len(text)
        assert end.find(text[a:b] + (rest if last else "")) == b - a and end.ended == last
