"""Rewrites regular expressions of JSON Schema (ECMA-262) so that llguidance matches the same strings.

Where dialects differ, as for white space, the result matches only what all dialects match.
"""

from __future__ import annotations

import re

_QUANTIFIER = re.compile(r"(?:[*+?]|\{(\d+)(,(\d*))?\})\??")
_HEX = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}")
_PROPERTY = re.compile(r"[pP]\{[A-Za-z_]+(=[A-Za-z_]+)?\}")
_CONTROL = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "0": 0}
_CLASSES = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\x0b\x0c\r "}
_WIDE_SPACE = r"\s\x{1c}-\x{1f}\x{180e}\x{feff}"  # white space in any dialect
_LINE_ENDS = r"\n\r\x{2028}\x{2029}"
MAX_REPEAT = 10_000


def rewrite(pattern: str) -> str:
    """Translates an ECMA-262 pattern to the syntax of Rust's regex crate.

    Raises:
        ValueError: the pattern is malformed, has a repeat count above 10,000, or has an unsupported feature.
    """
    return _Rewriter(pattern).run()


class _Rewriter:
    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._position = 0

    def run(self) -> str:
        parts: list[str] = []
        repeatable = False
        while self._position < len(self._text):
            if match := _QUANTIFIER.match(self._text, self._position):
                if not repeatable:
                    raise ValueError(f"nothing to repeat at {self._position}")
                parts.append(self._quantifier(match))
                repeatable = False
                continue
            char = self._text[self._position]
            self._position += 1
            parts.append(self._atom(char))
            repeatable = char not in "(|^$"
        return "".join(parts)

    def _quantifier(self, match: re.Match[str]) -> str:
        self._position = match.end()
        if any(int(bound) > MAX_REPEAT for bound in (match[1], match[3]) if bound):
            raise ValueError(f"repetitions are limited to {MAX_REPEAT}")
        return (
            match[0] if len(match[0]) == 1 else match[0].removesuffix("?")
        )  # laziness does not change which strings match

    def _atom(self, char: str) -> str:
        if char == "\\":
            return self._escape()
        if char == "[":
            return self._class()
        if char == "(":
            return self._group()
        if char == ".":
            return f"[^{_LINE_ENDS}]"
        if char == "{":
            raise ValueError(f"a stray '{{' at {self._position - 1}")
        return char if char in "|)^$" else _literal(ord(char))

    def _group(self) -> str:
        if self._text[self._position : self._position + 1] != "?":
            return "("
        match = re.compile(r"\?(?::|<[A-Za-z_]\w*>)").match(self._text, self._position)
        if not match:
            raise ValueError("lookaround and inline flags are not supported")
        self._position = match.end()
        return "(?:"

    def _escape(self) -> str:
        item = self._escaped(negated=False)
        return _literal(item) if isinstance(item, int) else f"[{item}]"

    def _escaped(self, *, negated: bool) -> int | str:
        """Reads an escape. Returns a code point or the inside of a character class."""
        if match := _HEX.match(self._text, self._position):
            self._position = match.end()
            return int(next(group for group in match.groups() if group), 16)
        if match := _PROPERTY.match(self._text, self._position):
            self._position = match.end()
            return "\\" + match[0]
        char = self._text[self._position : self._position + 1]
        self._position += 1
        if char in _CONTROL and not (char == "0" and self._text[self._position : self._position + 1].isdigit()):
            return _CONTROL[char]
        if char and char in "dwsDWS":
            return _shorthand(char, negated=negated)
        if not char or char.isalnum() or not char.isascii():
            raise ValueError(f"the escape '\\{char}' is not supported")
        return ord(char)

    def _class(self) -> str:
        negated = self._text.startswith("^", self._position)
        self._position += negated
        items: list[int | str] = []
        while not self._text.startswith("]", self._position):
            if self._position >= len(self._text):
                raise ValueError("a character class is not closed")
            items.append(self._range(negated))
        self._position += 1
        if not items:
            return r"[\x{0}-\x{10ffff}]" if negated else r"[^\x{0}-\x{10ffff}]"
        inside = "".join(_literal(item) if isinstance(item, int) else item for item in items)
        return f"[{'^' * negated}{inside}]"

    def _range(self, negated: bool) -> int | str:
        first = self._item(negated)
        lookahead = self._text[self._position : self._position + 2]
        if not isinstance(first, int) or len(lookahead) < 2 or lookahead[0] != "-" or lookahead[1] == "]":
            return first
        self._position += 1
        last = self._item(negated)
        if not isinstance(last, int) or last < first:
            raise ValueError("a range in a character class is out of order")
        return f"{_literal(first)}-{_literal(last)}"

    def _item(self, negated: bool) -> int | str:
        char = self._text[self._position]
        self._position += 1
        return self._escaped(negated=negated) if char == "\\" else ord(char)


def _shorthand(char: str, *, negated: bool) -> str:
    """Returns the inside of a character class for `\\d`, `\\w`, `\\s` and their negations.

    Where dialects differ, a negated class excludes the larger set, so that it matches fewer characters.
    """
    narrow = _CLASSES[char.lower()]
    if char.islower():
        return _WIDE_SPACE if char == "s" and negated else narrow
    return f"[^{_WIDE_SPACE if char == 'S' and not negated else narrow}]"


def _literal(code: int) -> str:
    char = chr(code)
    return char if char.isascii() and char.isalnum() else f"\\x{{{code:x}}}"


def all_but(names: list[str]) -> str:
    """Returns a pattern that matches every string except `names`, which must not be empty."""
    trie: dict[str, object] = {}
    for name in names:
        node = trie
        for char in name:
            node = node.setdefault(char, {})  # type: ignore[assignment]
        node[""] = None
    return f"^(?:{_strings_outside(trie)})$"


def _strings_outside(node: dict[str, object]) -> str:
    chars = [char for char in node if char]
    parts = [f"[^{''.join(_literal(ord(char)) for char in chars)}](?s:.*)" if chars else "(?s:.+)"]
    parts += [] if "" in node else [""]
    parts += [f"{_literal(ord(char))}(?:{_strings_outside(node[char])})" for char in chars]  # type: ignore[arg-type]
    return "|".join(parts)
