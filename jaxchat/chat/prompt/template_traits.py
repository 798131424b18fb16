"""The parts of a conversation that a chat template prints, and the forms of messages that it accepts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

EmptyContent = Literal["text", "null", "absent", "parts", "space"]
CallForm = Literal["shown", "apart", "written", "refused"]
Filling = Literal["no", "functions", "parameters too"]
ToolPlace = Literal["variable", "system key", "text"]

_WRITTEN = "written into the assistant's text"
_TEXT_NOTES = {
    "apart": "it becomes a message before them",
    "written": f"the calls are {_WRITTEN}",
    "refused": "it is refused",
}
_PARALLEL_NOTES = {
    "apart": "each becomes a message before its result",
    "written": f"they are {_WRITTEN}",
    "refused": "they are refused",
}


@dataclass(frozen=True, kw_only=True)
class TemplateTraits:
    """The parts of a conversation that a chat template prints, and the forms that it accepts.

    Attributes:
        named_roles: roles whose `name` the template prints.
        takes_system: whether the template prints a system message.
        fills_functions: the fields that functions must have. "no": only a name. "functions": every function also needs
            a description and parameters. "parameters too": every parameter also needs a description.
        types_in_any_of: whether the template needs `anyOf` in place of a list of types.
        tools: the place where the template reads functions. "variable": the variable `tools`. "system key": the key
            `tools` of the system message. "text": the template does not read functions, so they are described in the
            text of a message.
        calls: whether the template prints calls in an assistant message without content.
        text_beside_calls: the form in which the template gets the text of an assistant message with calls. "shown": as
            it is. "apart": as a message before the calls. "written": with the calls written into the text. "refused":
            requests with such a message are rejected.
        parallel_calls: the form in which the template gets several calls in a message. "shown": as they are. "apart":
            each in its own message, before its result. "written": written into the text. "refused": requests with such
            a message are rejected.
        results: whether the template prints tool messages.
        empty_content: the content that the template needs in an assistant message with calls and without text. "text":
            an empty string. "null": None. "absent": no key `content`. "parts": a list of one empty part. "space": one
            space.
        empty_answer: the content that the template needs in an assistant message without calls and without text, with
            the same values as `empty_content`.
        arguments_as_text: whether the template needs the arguments of calls as JSON text.
        wraps_arguments: whether the template needs an object in place of arguments that are not a JSON object.
        content_parts: roles whose content the template prints only if the content is a list of parts.
        writes_calls: whether jaxchat can write tools and calls as text where the template does not print them.
    """

    named_roles: frozenset[str] = frozenset()
    takes_system: bool = True
    fills_functions: Filling = "no"
    types_in_any_of: bool = False
    tools: ToolPlace = "variable"
    calls: bool = True
    text_beside_calls: CallForm = "shown"
    parallel_calls: CallForm = "shown"
    results: bool = True
    empty_content: EmptyContent = "absent"
    empty_answer: EmptyContent = "text"
    arguments_as_text: bool = False
    wraps_arguments: bool = False
    content_parts: frozenset[str] = frozenset()
    writes_calls: bool = True

    def notes(self) -> Iterator[str]:
        """Yields sentences for the start-up message about what the template does not print."""
        place = "the system message" if self.takes_system else "the first user message"
        if self.tools == "text":
            yield f"does not show tools: they are {f'described in {place}' if self.writes_calls else 'refused'}"
        if not self.calls:
            yield f"does not show calls: they are {_WRITTEN if self.writes_calls else 'refused'}"
        if self.calls and self.text_beside_calls != "shown":
            yield f"does not show text beside calls: {_TEXT_NOTES[self.text_beside_calls]}"
        if self.calls and self.parallel_calls != "shown":
            yield f"does not show several calls in a message: {_PARALLEL_NOTES[self.parallel_calls]}"
        if not self.results:
            yield "does not show results: they are written into user messages"
