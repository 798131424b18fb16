"""Every format: the grammar accepts what its models write, and the parser reads it, wherever the text is cut."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxchat import v1
from jaxchat.chat.request.tool_choice import tool_choice_of
from jaxchat.chat.request.validate_tools import check_tools
from jaxchat.chat.response.choice import ChoiceBuilder, ChoiceDelta, ChoiceOptions
from jaxchat.chat.tools.format import TOOL_FORMATS
from jaxchat.chat.tools.signatures import Signatures
from jaxchat.errors import ChatError
from jaxchat.types import TokenEvent
from tests.chat.grammar.test_tool_calls import tool_request
from tests.chat.grammar.test_tool_writer import follows, grammars, tokenizer
from tests.chat.grammar.walking import allowed, constraint_of, empty_row
from tests.chat.tools.spelling import SINGLE, SPELLINGS, VALUE_ENDS, WHOLE, Calls, in_order
from tests.chat.tools.test_json_parser import CUTS, deltas
from tools.schemas.made import random_schema

WORDS = st.text("ab é{}[]()\"'\\<>/=,:\n", max_size=6)
ARGUMENTS: dict[str, tuple[dict[str, Any], st.SearchStrategy[Any]]] = {
    "text": ({"type": "string"}, WORDS | st.sampled_from(["5", "true", "null", "", "[1]", "def f(x):\n    pass\n"])),
    "count": ({"type": "integer"}, st.integers(-99, 99)),
    "flag": ({"type": "boolean"}, st.booleans()),
    "maybe": ({"anyOf": [{"type": "string"}, {"type": "null"}]}, st.none() | st.sampled_from(["a b", "5", ""])),
    "tags": ({"type": "array", "items": {"type": "string"}}, st.lists(WORDS, max_size=2)),
    "kind": ({"enum": ["a", "b c"]}, st.sampled_from(["a", "b c"])),
    "where": (
        {"type": "object", "properties": {"x": {"type": "number"}, "o'clock": {"type": "string"}}},
        st.tuples(st.sampled_from([1, 2.5, -3]), WORDS).map(lambda pair: {"x": pair[0], "o'clock": pair[1]}),
    ),
}
SCHEMAS = {
    "f_1": ("text", "count", "maybe"),
    "f_2": ("flag", "tags", "kind"),
    "f_3": ("where",),
    "many": tuple(ARGUMENTS),
    "ping": (),
}
TOOLS = {
    name: {
        "type": "object",
        "properties": {key: ARGUMENTS[key][0] for key in keys},
        "required": [*keys[:1]],
        "additionalProperties": False,
    }
    for name, keys in SCHEMAS.items()
}
CONTENT = st.text("ab<é ", max_size=8).map(lambda text: text + "." if text.strip() else "")
NAMES = st.sampled_from(sorted(SPELLINGS))


def signatures(tools: dict[str, Any] = TOOLS) -> Signatures:
    request = tool_request(tools)
    return Signatures(tuple(tool_choice_of(request, check_tools(request).functions).callable))


KNOWN = signatures()


@st.composite
def calls(draw: st.DrawFn, most: int) -> Calls:
    made = []
    for name in draw(st.lists(st.sampled_from(sorted(TOOLS)), min_size=1, max_size=most)):
        keys = SCHEMAS[name]
        optional = [key for key in keys[1:] if draw(st.booleans())]
        order = [*keys[:1], *optional]
        if 1 < len(keys) <= 4:
            order = draw(st.permutations(order))
        values = {key: draw(ARGUMENTS[key][1].filter(lambda value: "</" not in str(value))) for key in order}
        made.append((name, values))
    return made


def read(found: list[ChoiceDelta]) -> tuple[str, Calls]:
    """The content and the calls of an answer. Arguments must be JSON."""
    parts: list[list[str]] = []
    for part in (part for delta in found for part in delta.calls):
        if part.id:
            parts.append([part.name, ""])
        assert part.index == len(parts) - 1
        parts[-1][1] += part.arguments
    return "".join(delta.text for delta in found), [(name, json.loads(arguments)) for name, arguments in parts]


def exact(calls: Calls) -> str:
    """Calls with their types and the order of arguments, for comparisons."""
    return json.dumps(calls)


@settings(max_examples=400, deadline=None)
@given(CONTENT, NAMES, st.data(), CUTS)
def test_calls_are_read_wherever_the_text_is_cut(content: str, name: str, data: st.DataObject, cuts: list[int]) -> None:
    made = in_order(name, data.draw(calls(1 if name in SINGLE else 3)))
    content = "" if name in WHOLE else content
    text = content + SPELLINGS[name](made)
    for places in ([], cuts, list(range(len(text.encode())))):
        found = deltas(text, places, calls=TOOL_FORMATS.get(name), signatures=KNOWN, top_logprobs=0)
        shown, read_calls = read(found)
        assert shown == content and exact(read_calls) == exact(made), text
        assert found[-1].finish == v1.FINISH_REASON_TOOL_CALLS
    entries = b"".join(entry.bytes for delta in found for entry in delta.entries)
    assert entries == content.encode()


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_split_reads_the_same(name: str) -> None:
    made: Calls = [("f_1", {"text": "a <b>\n c\n", "count": 5, "maybe": None}), ("ping", {}), ("f_2", {"flag": True})]
    made = in_order(name, made)
    text = ("" if name in WHOLE else "So. ") + SPELLINGS[name](made[:1] if name in SINGLE else made)
    whole = read(deltas(text, [], calls=TOOL_FORMATS.get(name), signatures=KNOWN))
    assert exact(whole[1]) == exact(made[:1] if name in SINGLE else made)
    for cut in range(len(text.encode())):
        assert read(deltas(text, [cut], calls=TOOL_FORMATS.get(name), signatures=KNOWN)) == whole


@settings(max_examples=300, deadline=None)
@given(NAMES, st.data(), CUTS, st.integers(0, 1000), st.booleans())
def test_a_cut_answer_shows_no_syntax(name: str, data: st.DataObject, cuts: list[int], end: int, forced: bool) -> None:
    text = SPELLINGS[name](data.draw(calls(1 if name in SINGLE else 2)))
    opening = TOOL_FORMATS.get(name)
    whole = deltas(text, [], calls=opening, signatures=KNOWN)
    text = text[: end % len(text)]
    found = deltas(text, cuts, finish="length", calls=opening, signatures=KNOWN, forced=forced)
    assert found[-1].finish == v1.FINISH_REASON_LENGTH
    shown = "".join(delta.text for delta in found)
    assert not shown or (not forced and not any(delta.calls for delta in found) and text.endswith(shown))
    complete = _fragments(whole)
    for (named, part), (expected, arguments) in zip(_fragments(found), complete, strict=False):
        assert named == expected and arguments.startswith(part)


def _fragments(found: list[ChoiceDelta]) -> list[tuple[str, str]]:
    parts: list[tuple[str, str]] = []
    for part in (part for delta in found for part in delta.calls):
        parts = [*parts, (part.name, "")] if part.id else parts
        parts[-1] = (parts[-1][0], parts[-1][1] + part.arguments)
    return parts


@settings(max_examples=150, deadline=None)
@given(NAMES, st.data(), st.booleans())
def test_the_grammar_accepts_what_models_write(name: str, data: st.DataObject, control: bool) -> None:
    made = in_order(name, data.draw(calls(1 if name in SINGLE else 2)))
    text = SPELLINGS[name](made)
    accepted = {
        choice: follows(name, control, tool_request(TOOLS, choice), text)
        for choice in ("auto", "none", "required", made[0][0])
    }
    assert accepted == {"auto": True, "none": False, "required": True, made[0][0]: len(made) == 1}, text
    if name not in WHOLE:
        assert follows(name, control, tool_request(TOOLS, "auto"), "So. " + text)
        assert not follows(name, control, tool_request(TOOLS, "required"), "So. " + text)
    single = follows(name, control, tool_request(TOOLS, "auto", parallel_tool_calls=False), text)
    assert single == (len(made) == 1)


@pytest.mark.parametrize("control", [True, False])
@pytest.mark.parametrize("name", SPELLINGS)
def test_the_grammar_refuses_other_calls(name: str, control: bool) -> None:
    wrong: list[Calls] = [
        [("f_1", {})],
        [("f_1", {"text": "a", "count": "b"})],
        [("f_1", {"text": "a", "other": 1})],
        [("f_2", {"flag": True, "kind": "c"})],
        [("ping", {"a": 1})],
        [("pong", {})],
    ]
    for made in wrong:
        assert not follows(name, control, tool_request(TOOLS, "required"), SPELLINGS[name](made))
    assert follows(name, control, tool_request(TOOLS, "required"), SPELLINGS[name]([("ping", {})]))
    assert not follows(name, control, tool_request(TOOLS, "required"), SPELLINGS[name]([("ping", {})]) + " x")
    if name not in SINGLE:
        assert follows(name, control, tool_request(TOOLS, "auto"), SPELLINGS[name]([("ping", {})] * 16))
        assert not follows(name, control, tool_request(TOOLS, "auto"), SPELLINGS[name]([("ping", {})] * 17))


@pytest.mark.parametrize("control", [True, False])
@pytest.mark.parametrize("name", sorted(set(SPELLINGS) - {"harmony"}))  # its markers stand around text too
def test_text_outside_calls_holds_no_marker_of_calls(name: str, control: bool) -> None:
    tool_format = TOOL_FORMATS.get(name)
    for choice in ("auto", "none"):
        request = tool_request(TOOLS, choice)
        assert name in WHOLE or follows(name, control, request, "So. <b> </b> x")
        for marker in set(tool_format.markers) - set(getattr(tool_format, "around", ())):
            assert not follows(name, control, request, f"So. {marker} x"), marker
            assert not follows(name, control, request, f"{marker}"), marker


def walked(name: str, control: bool, tools: dict[str, Any], seed: int, steps: int = 500) -> ChoiceDelta | None:
    """The answer of a model without sense that must call functions; None if it did not end."""
    known, chance = tokenizer(control), random.Random(seed)
    row = empty_row(known, 0)
    constraint = grammars(name, control).compiled(constraint_of(tool_request(tools))).start()
    options = ChoiceOptions(calls=TOOL_FORMATS.get(name), forced=True, signatures=signatures(tools))
    builder = ChoiceBuilder(known, options)
    value_ends, pending = [known.encode(end) for end in VALUE_ENDS.get(name, ("",))], []
    for _ in range(steps):
        constraint.fill(row)
        ids = [int(token) for token in allowed(row)]
        closing = [t for t in ids if known.bytes_of(t) in (b"}", b"]", b'"', b"<", b")") or t in known.stop_tokens]
        if not pending and chance.random() < 0.1:
            pending = [*chance.choice(value_ends)]
        token = chance.choice(closing if closing and chance.random() < 0.5 else ids)
        if pending:
            token, pending = (pending[0], pending[1:]) if pending[0] in ids else (token, [])
        constraint.accept(token)
        stops = token in known.stop_tokens
        builder.feed(TokenEvent(0, 0, token, "stop" if stops else None, 0.0, None))
        if stops:
            return builder.take()
    return None


@pytest.mark.parametrize("control", [True, False])
@pytest.mark.parametrize("name", SPELLINGS)
def test_random_answers_follow_their_schemas(name: str, control: bool) -> None:
    ended = 0
    for seed in range(8):
        delta = walked(name, control, TOOLS, seed)
        if delta is None:
            continue
        ended += 1
        content, made = read([delta])
        assert not content and made
        for called, arguments in made:
            jsonschema.validate(arguments, TOOLS[called])
    assert ended >= 4


@pytest.mark.parametrize("name", SPELLINGS)
def test_random_schemas_are_followed(name: str) -> None:
    checked = 0
    for seed in range(20):
        chance = random.Random(seed)
        value = random_schema(chance, 2)
        tools = {
            "f": {"type": "object", "properties": {"v": value}, "required": ["v"], "$defs": value.pop("$defs", {})}
        }
        try:
            delta = walked(name, False, tools, seed, 250)
        except ChatError as error:
            assert error.param and error.param.startswith("tools")
            continue
        for _, arguments in read([delta])[1] if delta else []:
            checked += 1
            jsonschema.validate(arguments, tools["f"])
    assert checked >= 6
