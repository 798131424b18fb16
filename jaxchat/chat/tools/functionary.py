"""The format of functionary 3.2: an answer is a series of messages, each to the user ("all") or to a function.

A message has a recipient, a line break and a body. If the recipient is `all`, the body is text. If the recipient is a
function, the body is the arguments of a call. The prompt ends with `>>>`, so an answer begins with the first recipient.
Each further message begins with `>>>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jaxchat.chat.grammar.json_schema.objects import in_any_order
from jaxchat.chat.grammar.lark import AnswerRules, LarkWriter
from jaxchat.chat.tools.signatures import NO_SIGNATURES, Signatures
from jaxchat.chat.tools.stream_parser import NAME, Segment, StreamParser, Syntax

_OPENING, _USER = ">>>", "all\n"
_HEADER = re.compile(rf"\s*>>>({NAME})\n")
_FIRST = re.compile(rf"(?:>>>)?({NAME})\n")
_PARTIAL = re.compile(rf"\s*(?:>>?|>>>(?:{NAME})?)?\Z")
_RECIPIENT = re.compile(rf">{{0,3}}|(?:>>>)?{NAME}")


@dataclass(frozen=True)
class FunctionaryFormat:
    """The format of functionary 3.2: an answer is a series of messages, each to the user or to a function."""

    markers: tuple[str, ...] = ()
    id_length: int = 0

    def recognises(self, template: str) -> bool:
        """Returns whether a chat template writes messages to the recipient "all"."""
        return ">>>all" in template

    def parser(self, *, callable: bool, forced: bool, signatures: Signatures = NO_SIGNATURES) -> RecipientParser:
        """Returns a new parser of one answer; never None, because answers without calls also name a recipient."""
        return RecipientParser(callable=callable, forced=forced)

    def grammar(self, rules: AnswerRules, writer: LarkWriter) -> str | None:
        """Returns the Lark grammar of an answer: text to the user, calls, or text and then calls.

        Returns None for requests without functions if neither a schema nor a rule limits the text.
        """
        return "\n".join(_rules(rules, writer)) if rules.most or rules.answer is not None else None

    def write_calls(self, calls: Sequence[tuple[str, str]]) -> str:
        """Returns the text of an answer that consists of `calls`: pairs of a name and arguments as JSON text.

        The text lacks the first `>>>`, which is in the prompt.
        """
        return _OPENING.join(f"{name}\n{arguments}" for name, arguments in calls)


FUNCTIONARY_32 = FunctionaryFormat()


def _rules(rules: AnswerRules, writer: LarkWriter) -> Iterator[str]:
    forced, names = rules.mode == "required", [name for name, _ in rules.functions]
    starts = [] if forced else ["text"]
    if names:
        starts += ["calls"] if forced or rules.answer is not None else ["calls", "late"]
    yield f"start: {' | '.join(starts)}"
    if rules.answer is not None and not forced:
        yield f'text: "all\\n" {writer.json(rules.answer)}'
    elif not forced:
        yield "text: MESSAGE"
        yield 'MESSAGE: "all\\n" TEXT'
        yield rf"TEXT: /(?s:.*)/ & ~/(?s:.*){_OPENING}{NAME}\n(?s:.*)/"
    if not names:
        return
    more = f' (">>>" call){{0,{rules.most - 1}}}' if rules.most > 1 else ""
    yield f"calls: call{more}"
    yield f"call: {' | '.join(f'call_{index}' for index in range(len(names)))}"
    if "late" in starts:
        yield f"late: ({' | '.join(f'late_{index}' for index in range(len(names)))}){more}"
    for index, (name, schema) in enumerate(rules.functions):
        yield f'call_{index}: "{name}\\n" arguments_{index}'
        yield f"arguments_{index}: {writer.json(in_any_order(schema))}"
        if "late" in starts:
            # Recipient, text and the next header are one lexeme, because the lexer cannot reinterpret matched text.
            yield f"late_{index}: head_{index} arguments_{index}"
            yield f"head_{index}[lazy]: HEAD_{index}"
            yield rf"HEAD_{index}: MESSAGE />>>{writer.pattern(name)}\n/"


class RecipientParser(StreamParser):
    """A parser that splits text into content and calls as it arrives.

    The text must follow the grammar of the format, but may be cut off.
    """

    def __init__(self, *, callable: bool, forced: bool) -> None:
        """Starts before the first recipient.

        Args:
            callable: whether calls are allowed. Otherwise the parser drops the header "all", and everything else is
                content.
            forced: whether the answer consists of calls only, so that other text is not content.
        """
        super().__init__(self._first, forced=forced)
        self._callable = callable

    def flush(self) -> str:
        """Ends the answer. Returns the part of the held-back text that is content."""
        text, self._held = self._held, ""
        shown = self._step == self._content or (self._step == self._first and not self._forced)
        undecided = self._step == self._first and _USER.startswith(text)
        return text if shown and not undecided else ""

    def _first(self, pieces: list[Segment]) -> bool:
        found = _FIRST.match(self._held)
        if found and (self._callable or found[1] == "all"):
            return self._open(found, pieces)
        if not found and _RECIPIENT.fullmatch(self._held):
            return False
        self._step = self._content  # the model does not name a recipient
        return True

    def _open(self, found: re.Match[str], pieces: list[Segment]) -> bool:
        """Begins the message whose header `found` matches at the beginning of the pending text.

        Always returns True, the result of a `State` that needs no more text.
        """
        pieces.append(Syntax(found.end()))
        self._held = self._held[found.end() :]
        if found[1] == "all":
            self._step = self._content
        else:
            self.begin_call(found[1], pieces)
            self._step = self._inside_arguments
        return True

    def _content(self, pieces: list[Segment]) -> bool:
        if not self._callable:
            return self.pass_content(pieces)
        found = _HEADER.search(self._held)
        partial = None if found else _PARTIAL.search(self._held)
        end = found.start() if found else partial.start() if partial else len(self._held)
        pieces.append(self._held[:end])
        self._held = self._held[end:]
        header = found and _HEADER.match(self._held)
        return self._open(header, pieces) if header else False

    def _inside_arguments(self, pieces: list[Segment]) -> bool:
        return self.take_arguments(self._next, pieces)

    def _next(self, pieces: list[Segment]) -> bool:
        """Counts the call that has ended, and reads the next header."""
        if self.complete < self._begun:
            self.complete += 1
        found = _HEADER.match(self._held)
        return self._open(found, pieces) if found else False
