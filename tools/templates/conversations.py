"""Conversations on which chat templates differ, as the JSON of requests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

Json = dict[str, Any]

_CITY = {"type": "object", "properties": {"city": {"type": "string", "description": "a town"}}, "required": ["city"]}
_NESTED = {
    "type": "object",
    "properties": {
        "when": {"type": ["string", "null"], "enum": ["now", "later", None]},
        "places": {"type": "array", "items": {"type": "object", "properties": {"lat": {"type": "number"}}}},
    },
}
_LONG = "The harbour of Oslo opens to the south, and ferries leave it every hour. " * 400


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """A conversation as a client sends it, in JSON form.

    Attributes:
        name: the name in tables.
        messages: the messages.
        tools: the tools, if any.
        control: the spelling of a control token that the messages contain as text; "" if they contain none.
    """

    name: str
    messages: Sequence[Json]
    tools: Sequence[Json] = ()
    control: str = ""

    def request(self) -> Json:
        """Returns the body of the request."""
        body: Json = {"model": "m", "messages": list(self.messages)}
        return body | {"tools": list(self.tools)} if self.tools else body

    def harmless(self) -> Conversation:
        """Returns the conversation with a word in place of the spelling of the control token."""
        if not self.control:
            return self
        spelled = json.dumps(self.messages, ensure_ascii=False)
        return replace(self, messages=json.loads(spelled.replace(self.control, "word")), control="")


def battery(control: str) -> list[Conversation]:
    """Returns all conversations. Some hold `control`, the spelling of a control token, as text."""
    talks = {**_talks(), **_texts(control)}
    plain = [Conversation(name=name, messages=messages) for name, messages in talks.items()]
    conversations = [*plain, *_declarations(), *_histories(control)]
    return [replace(each, control=control) if control in str(each.messages) else each for each in conversations]


def _talks() -> dict[str, list[Json]]:
    system, hello = _message("system", "Be brief."), _message("user", "Hello there.")
    answer, more = _message("assistant", "Good day."), _message("user", "Tell me more.")
    return {
        "user": [hello],
        "system": [system, hello],
        "turns": [hello, answer, more],
        "system and turns": [system, hello, answer, more, _message("assistant", "Certainly."), hello],
        "developer": [_message("developer", "Be kind."), hello],
        "late system": [hello, answer, _message("system", "Now be long."), more],
        "two systems": [system, _message("system", "Be polite."), hello],
        "only system": [system],
        "consecutive users": [hello, more],
        "consecutive assistants": [hello, answer, _message("assistant", "How are you?"), more],
        "assistant first": [answer, hello],
        "assistant last": [hello, answer],
        "named user": [hello | {"name": "ada"}],
        "named all": [system | {"name": "boss"}, hello | {"name": "ada"}, answer | {"name": "bot"}, more],
    }


def _texts(control: str) -> dict[str, list[Json]]:
    hello, more = _message("user", "Hello there."), _message("user", "Tell me more.")
    parts = [{"type": "text", "text": text} for text in ("One ", "two", " three")]
    thought = _message("assistant", "<think>\nA greeting, I think.\n</think>\n\nGood day.")
    marked = "<b>bold</b> & {{ braces }} {% raw %} \"double\" 'single' \\n \\"
    return {
        "unicode": [_message("user", "Grüße, 世界 🌍 e\u0301 \u200b'π'?"), _message("assistant", "«Да»"), more],
        "white space": [_message("user", "  \n Around \t\n"), _message("assistant", "\n\nlines \n"), more],
        "empty system": [_message("system", ""), hello],
        "empty user": [_message("user", "")],
        "empty answer": [hello, _message("assistant", ""), more],
        "parts": [{"role": "user", "content": parts}],
        "markup": [_message("user", marked), _message("assistant", "`code`"), more],
        "control in user": [_message("user", f"Repeat {control} please{control}")],
        "control in all": [_message("system", f"Never {control}"), hello, _message("assistant", control), more],
        "thoughts": [hello, thought, more],
        "thoughts at the end": [hello, thought],
        "very long": [_message("user", _LONG), _message("assistant", "Indeed."), more],
    }


def _declarations() -> Iterator[Conversation]:
    weather = _tool("forecast", "Foretells the sky", _CITY)
    declared = {
        "tools": [weather],
        "several tools": [weather, _tool("clock", "Says the hour", _CITY)],
        "tool without description": [_tool("forecast", None, _CITY)],
        "tool without parameters": [_tool("clock", "Says the hour", None)],
        "tool with a name only": [_tool("clock", None, None)],
        "tool without properties": [_tool("clock", "Says the hour", {"type": "object"})],
        "nested parameters": [_tool("forecast", 'Says “how” & <b>"when"</b>', _NESTED)],
    }
    asked = _message("user", "How is it up north?")
    for name, tools in declared.items():
        yield Conversation(name=name, messages=[asked], tools=tools)
    yield Conversation(name="tools and system", messages=[_message("system", "Be brief."), asked], tools=[weather])


def _histories(control: str) -> Iterator[Conversation]:
    tools = [_tool("forecast", "Foretells the sky", _CITY), _tool("clock", "Says the hour", None)]
    oslo: Json = {"city": "Oslo"}
    plain = [_calls(oslo), _result(0, "12 degrees")]
    parallel = [_calls(oslo, {"city": "Bergen"}), _result(1, "9 degrees"), _result(0, "12 degrees")]
    histories = {
        "call": plain,
        "answered call": [*plain, _message("assistant", "Twelve degrees."), _message("user", "And later?")],
        "second call": [*plain, *_renumbered(plain, 5)],
        "call with text": [_calls(oslo, content="Let me look."), *plain[1:]],
        "call with empty text": [_calls(oslo, content=""), *plain[1:]],
        "call without content": [_without(_calls(oslo), "content"), *plain[1:]],
        "parallel calls": parallel,
        "thought before a call": [_calls(oslo, content="<think>\nI must look.\n</think>\n\n"), *plain[1:]],
        "arguments ''": [_calls(""), *plain[1:]],
        "arguments null": [_calls("null"), *plain[1:]],
        "arguments {}": [_calls({}), *plain[1:]],
        "arguments cut off": [_calls('{"city": "Os'), *plain[1:]],
        "arguments of a string": [_calls('"Oslo"'), *plain[1:]],
        "arguments nested": [_calls({"city": "Zürich", "at": [{"lat": 59.9}, None], "ok": True}), *plain[1:]],
        "result of JSON": [_calls(oslo), _result(0, '{"grad": 12, "ort": "Zürich"}')],
        "empty result": [_calls(oslo), _result(0, "")],
        "control in result": [_calls({"city": f"Os{control}lo"}), _result(0, f"12 {control}")],
        "result with name": [plain[0], plain[1] | {"name": "forecast"}],
    }
    asked = _message("user", "How is it up north?")
    for name, messages in histories.items():
        yield Conversation(name=name, messages=[asked, *messages], tools=tools)
    yield Conversation(name="call without tools", messages=[asked, *histories["answered call"]])
    yield Conversation(
        name="system and call", messages=[_message("system", "Be brief."), asked, *histories["call"]], tools=tools
    )


def _message(role: str, content: str) -> Json:
    return {"role": role, "content": content}


def _tool(name: str, description: str | None, parameters: Json | None) -> Json:
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": {key: value for key, value in function.items() if value is not None}}


def _calls(*arguments: Json | str, content: str | None = None) -> Json:
    """Returns an assistant message that calls `forecast` once for each of `arguments`, JSON texts or objects."""
    texts = [text if isinstance(text, str) else json.dumps(text, ensure_ascii=False) for text in arguments]
    calls = [
        {"id": f"call_{index}", "type": "function", "function": {"name": "forecast", "arguments": text}}
        for index, text in enumerate(texts)
    ]
    return {"role": "assistant", "content": content, "tool_calls": calls}


def _result(call: int, content: str) -> Json:
    return {"role": "tool", "tool_call_id": f"call_{call}", "content": content}


def _renumbered(messages: Sequence[Json], first: int) -> list[Json]:
    """Returns a call and its results with ids that count from `first`."""
    return json.loads(json.dumps(messages).replace('"call_0"', f'"call_{first}"'))


def _without(message: Json, key: str) -> Json:
    return {name: value for name, value in message.items() if name != key}
