"""Writes the Lark rules that tool formats share: the rules that decide whether an answer is text or calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from jaxchat.chat.grammar.lark import AnswerRules, LarkWriter


def answer_rules(
    opening: str,
    rules: AnswerRules,
    writer: LarkWriter,
    *,
    markers: Iterable[str] = (),
    bare: str = "",
    around: tuple[str, ...] = (),
) -> Iterator[str]:
    """Yields the Lark rules of an answer up to its calls.

    The tool format must add two rules: `calls`, for the opening and the calls, and `rest`, for the calls after the
    opening. If `bare` is not empty, the tool format must also add the rule `bare`, for calls that may begin without the
    opening.

    Args:
        opening: the text that begins the calls.
        rules: the text and calls that the answer may have.
        writer: writes control tokens and JSON schemas.
        markers: texts that occur in calls and that other text may not contain, such as the closing of calls.
        bare: pattern of the text that begins calls without the opening; empty if calls always have the opening.
        around: tokens that may stand before and after text. If they are control tokens, they are not content.
    """
    text = rules.mode != "required" and rules.answer is None
    markers = [marker for marker in markers if marker not in (*around, opening, "") and not writer.is_control(marker)]
    hidden = " | ".join(writer.spelled((token,)) for token in around if writer.is_control(token))
    yield _start(rules, bare=bool(bare), opening=bool(opening))
    if rules.mode != "required" and rules.answer is not None:
        frame = f"({hidden})*" if hidden else ""
        yield f"answer: {frame} answer_json {frame}"
        yield f"answer_json: {writer.json(rules.answer)}"
    if text:
        yield f"text: TEXT? (({hidden}) TEXT?)*" if hidden else "text: TEXT"
        yield _text([opening, *markers], writer, bare)
    if rules.functions and not bare and text:
        yield from _late(opening, markers, writer, f"(TEXT? ({hidden}))*" if hidden else "")


class CallParts(Protocol):
    """The texts around the calls of a tool format. All except `opening` are given in parts."""

    @property
    def opening(self) -> str:
        """The text that begins the calls."""

    @property
    def markers(self) -> tuple[str, ...]:
        """Parts that are control tokens in some models."""

    @property
    def before(self) -> tuple[str, ...]:
        """Parts between the opening and the first call."""

    @property
    def between(self) -> tuple[str, ...]:
        """Parts between two calls."""

    @property
    def after(self) -> tuple[str, ...]:
        """Parts after the last call."""


def call_rules(parts: CallParts, rules: AnswerRules, writer: LarkWriter) -> Iterator[str]:
    """Yields the rules `calls` and `rest`, to which `answer_rules` refers. Yields nothing without functions.

    The caller must add a rule `call_{index}` for each function.
    """
    if not rules.functions:
        return
    yield f"calls: {writer.spelled((parts.opening,))} rest"
    more = f" ({writer.spelled(parts.between)} body){{0,{rules.most - 1}}}" if rules.most > 1 else ""
    yield f"rest: {writer.spelled(parts.before)} body{more} {writer.spelled(parts.after)}"
    yield f"body: {' | '.join(f'call_{index}' for index in range(len(rules.functions)))}"


def texts_of_calls(parts: CallParts) -> tuple[str, ...]:
    """Returns the texts that occur only in calls: the markers of the format, and its closing."""
    return (*parts.markers, "".join(parts.after).strip())


def write_around(parts: CallParts, calls: Sequence[str]) -> str:
    """Returns the text of an answer with calls: the texts in `calls`, with the parts around and between them."""
    return "".join([parts.opening, *parts.before, "".join(parts.between).join(calls), *parts.after])


def _start(rules: AnswerRules, *, bare: bool, opening: bool) -> str:
    if rules.mode == "required":
        return "start: bare" if bare else "start: calls"
    if rules.answer is not None:
        # A bare call would be indistinguishable from an answer.
        return "start: answer | calls" if opening else "start: answer"
    if not rules.functions:
        return "start: text"
    return "start: text | bare" if bare else "start: text | late"


def _text(syntax: Sequence[str], writer: LarkWriter, bare: str) -> str:
    """Returns the rule TEXT: text that is not a call and cannot be mistaken for one."""
    rule = f"TEXT: /(?s:.*)/{_without(syntax, writer)}"
    return rule + rf" & ~/{bare}(?s:.*)/" if bare else rule


def _without(syntax: Sequence[str], writer: LarkWriter) -> str:
    """Returns text to append to a Lark terminal. The terminal then excludes texts that contain one of `syntax`."""
    patterns = [writer.pattern(text) for text in syntax if text]
    return f" & ~/(?s:.*)({'|'.join(patterns)})(?s:.*)/" if patterns else ""


def _late(opening: str, markers: Sequence[str], writer: LarkWriter, framed: str) -> Iterator[str]:
    """Yields the rule `late`, for text that is followed by calls, and the rules that it needs."""
    excluded = _without([marker for marker in markers if marker not in opening], writer)
    before, control = writer.split_opening(opening)
    if not before:
        yield "late: text? calls"
    elif control:
        yield f"late: {framed} HEAD {control} rest"
        yield f"HEAD: /(?s:.*){writer.pattern(before)}/{excluded}"
    else:
        yield "late: head rest"
        yield "head[lazy]: HEAD"
        yield f"HEAD: /(?s:.*){writer.pattern(opening)}/{excluded}"
