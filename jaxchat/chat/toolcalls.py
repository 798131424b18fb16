"""Tool calls in generated text, in the Hermes syntax: `<tool_call>` newline JSON newline `</tool_call>`."""

from __future__ import annotations

import json
import re
import secrets
import string
from collections.abc import Collection
from dataclasses import dataclass, field

from jaxchat.chat.stop import held_back

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_CUT = re.compile(r'\s*\{\s*"name"\s*:\s*"([^"\\]+)"\s*,\s*"arguments"\s*:\s*(.*)', re.S)
_ALPHABET = string.ascii_letters + string.digits


@dataclass(frozen=True)
class Call:
    """One tool call; `arguments` is JSON text, only begun when the answer was cut within it."""

    name: str
    arguments: str
    complete: bool = True
    id: str = field(default_factory=lambda: "call_" + "".join(secrets.choice(_ALPHABET) for _ in range(24)))


class ToolCallParser:
    """Splits text into content and calls. What opens like a call but is none of the declared ones stays content."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._held = ""
        self.inside = False

    def feed(self, text: str) -> tuple[str, list[Call], int]:
        """Content to show, calls completed, and how many characters were call syntax."""
        self._held += text
        content, calls, syntax = "", [], 0
        while True:
            before = len(self._held)
            if self.inside:
                body, closed, rest = self._held.partition(CLOSE)
                if not closed:
                    break
                call = self._parse(body)
                self._held, self.inside = rest, False
                if call:
                    calls.append(call)
                    syntax += before - len(rest) + len(OPEN)
                else:
                    content += OPEN + body + CLOSE
            else:
                lead, opened, rest = self._held.partition(OPEN)
                if not opened:
                    break
                content += lead.rstrip()
                syntax += len(lead) - len(lead.rstrip())
                self._held, self.inside = rest, True
        if not self.inside:
            shown = len(self._held) - self._undecided()
            content, self._held = content + self._held[:shown], self._held[shown:]
        return content, calls, syntax

    def flush(self) -> tuple[str, list[Call]]:
        """At the end of the answer: the text held back, or the call that was cut."""
        text, self._held = self._held, ""
        if not self.inside:
            return text, []
        self.inside = False
        cut = _CUT.fullmatch(text)
        if cut and cut[1] in self._names:
            return "", [Call(cut[1], cut[2], complete=False)]
        return OPEN + text, []

    def _undecided(self) -> int:
        """White space and a begun opening tag at the end may yet turn out to lead a call."""
        tag = held_back(self._held, (OPEN,))
        body = self._held[: len(self._held) - tag]
        return tag + len(body) - len(body.rstrip())

    def _parse(self, body: str) -> Call | None:
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            return None
        if not isinstance(found, dict) or found.get("name") not in self._names:
            return None
        arguments = found.get("arguments", {})
        return Call(found["name"], json.dumps(arguments, ensure_ascii=False)) if isinstance(arguments, dict) else None
