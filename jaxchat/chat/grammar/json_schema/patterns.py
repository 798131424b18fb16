"""Rewrites regular expressions of JSON Schema (ECMA-262) so that llguidance matches the same strings.

Where dialects differ, as for white space, the result matches only what all dialects match.
"""

from __future__ import annotations

import re

_QUANTIFIER = re.compile(r"(?:[*+?]|\{(\d+)(,(\d*))?\})\??")
_HEX = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}")
_PROPERTY = re.compile(r"[pP]\{[A-Za-z_]+(=[A-Za-z_]+)?\}")
_LOW_SURROGATE = re.compile(r"\\u([Dd][C-Fc-f][0-9A-Fa-f]{2})")
_ALL, _NONE = r"[\x{0}-\x{10ffff}]", r"[^\x{0}-\x{10ffff}]"
_CONTROL = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "0": 0}
_CLASSES = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\x0b\x0c\r "}
_WIDE_SPACE = r"\s\x{1c}-\x{1f}\x{180e}\x{feff}"  # white space in any dialect
_LINE_ENDS = r"\n\r\x{2028}\x{2029}"
MAX_REPEAT = 10_000


def rewrite(pattern: str, *, in_json: bool = True) -> str:
    """Translates an ECMA-262 pattern to the syntax of Rust's regex crate.

    Args:
        pattern: the pattern.
        in_json: whether the pattern describes JSON strings. If so, some patterns do not match U+0000.

    Raises:
        ValueError: the pattern is malformed, has a repeat count above 10,000, or has an unsupported feature.
    """
    return _Rewriter(pattern, in_json).run()


class _Rewriter:
    def __init__(self, pattern: str, in_json: bool) -> None:
        self._text = pattern
        self._in_json = in_json
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
        if "\ud800" <= char <= "\udfff":
            raise ValueError(f"U+{ord(char):X} is not a character")
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
        item = self._escaped()
        if isinstance(item, int):
            return _literal(item) if item or not self._in_json else _NONE  # see `_without_nul`
        return self._of_items([item], negated=False)

    def _escaped(self) -> int | str:
        """Reads an escape. Returns a code point, the letter of a shorthand, or a property such as `\\p{L}`.

        Raises:
            ValueError: the escape is not supported.
        """
        if match := _HEX.match(self._text, self._position):
            self._position = match.end()
            return self._code_point(int(next(group for group in match.groups() if group), 16))
        if match := _PROPERTY.match(self._text, self._position):
            self._position = match.end()
            return "\\" + match[0]
        char = self._text[self._position : self._position + 1]
        self._position += 1
        if char in _CONTROL and not (char == "0" and self._text[self._position : self._position + 1].isdigit()):
            return _CONTROL[char]
        if char and char in "dwsDWS":
            return char
        if not char or char.isalnum() or not char.isascii():
            raise ValueError(f"the escape '\\{char}' is not supported")
        return ord(char)

    def _code_point(self, code: int) -> int:
        """Returns the code point of an escape with the number `code`.

        If `code` is a high surrogate, reads the escape of the low surrogate that must follow, and combines the two.

        Raises:
            ValueError: `code` is not a character, or a surrogate stands alone.
        """
        if code > 0x10FFFF or 0xDC00 <= code <= 0xDFFF:
            raise ValueError(f"U+{code:X} is not a character")
        if not 0xD800 <= code <= 0xDBFF:
            return code
        match = _LOW_SURROGATE.match(self._text, self._position)
        if not match:
            raise ValueError(f"U+{code:X} is not a character")
        self._position = match.end()
        return 0x10000 + ((code - 0xD800) << 10) + int(match[1], 16) - 0xDC00

    def _class(self) -> str:
        negated = self._text.startswith("^", self._position)
        self._position += negated
        items: list[tuple[int, int] | str] = []
        while not self._text.startswith("]", self._position):
            if self._position >= len(self._text):
                raise ValueError("a character class is not closed")
            items.append(self._range())
        self._position += 1
        if not items or any({name, name.upper()} <= {*items} for name in "dws"):
            return _ALL if negated != bool(items) else _NONE
        return self._of_items(items, negated=negated)

    def _of_items(self, items: list[tuple[int, int] | str], *, negated: bool) -> str:
        inside = "".join(
            _shorthand(item, negated=negated) if isinstance(item, str) else "-".join(map(_literal, dict.fromkeys(item)))
            for item in items
        )
        return _without_nul(items, inside, negated=negated) if self._in_json else f"[{'^' * negated}{inside}]"

    def _range(self) -> tuple[int, int] | str:
        first = self._item()
        lookahead = self._text[self._position : self._position + 2]
        if isinstance(first, str):
            return first
        if len(lookahead) < 2 or lookahead[0] != "-" or lookahead[1] == "]":
            return first, first
        self._position += 1
        last = self._item()
        if isinstance(last, str) or last < first:
            raise ValueError("a range in a character class is out of order")
        return first, last

    def _item(self) -> int | str:
        char = self._text[self._position]
        self._position += 1
        return self._escaped() if char == "\\" else ord(char)


def _without_nul(items: list[tuple[int, int] | str], inside: str, *, negated: bool) -> str:
    """Returns the character class `[inside]` or `[^inside]`.

    Excludes U+0000 if the class may contain it and may lack the quote or the backslash. The reason is a fault of the
    grammar library. For a class that contains all control characters, the library also accepts the escapes `\\"` and
    `\\\\`, even if the class lacks the quote and the backslash.
    """
    lacks = any(_contains(items, code) is not (not negated) for code in (ord('"'), ord("\\")))
    if lacks and _contains(items, 0) is not negated:
        return f"[{'^' * negated}{inside}&&[^\\x{{0}}]]" if not negated else f"[^{inside}\\x{{0}}]"
    return f"[{'^' * negated}{inside}]"


def _contains(items: list[tuple[int, int] | str], code: int) -> bool | None:
    """Returns whether ranges and shorthands contain the character `code`, or None if that is unknown.

    `code` must be U+0000, the quote or the backslash.
    """
    if any(item in ("D", "W", "S") for item in items):  # these contain all three characters
        return True
    if any(isinstance(item, tuple) and item[0] <= code <= item[1] for item in items):
        return True
    return None if any(isinstance(item, str) and item[0] == "\\" for item in items) else False


def _shorthand(char: str, *, negated: bool) -> str:
    """Returns the inside of a character class for a shorthand letter or a property.

    Where dialects differ, a negated class excludes the larger set, so that it matches fewer characters.
    """
    if char[0] == "\\":
        return char
    narrow = _CLASSES[char.lower()]
    if char.islower():
        return _WIDE_SPACE if char == "s" and negated else narrow
    return f"[^{_WIDE_SPACE if char == 'S' and not negated else narrow}]"


def _literal(code: int) -> str:
    char = chr(code)
    return char if char.isascii() and char.isalnum() else f"\\x{{{code:x}}}"


def all_but(names: list[str]) -> str:
    """Returns an ECMA-262 pattern that matches every string except those in `names`, a list that is not empty."""
    trie: dict[str, object] = {}
    for name in names:
        node = trie
        for char in name:
            node = node.setdefault(char, {})  # type: ignore[assignment]
        node[""] = None
    return f"^(?:{_strings_outside(trie)})$"


def _strings_outside(node: dict[str, object]) -> str:
    chars = [char for char in node if char]
    parts = [f"[^{''.join(ecma(char) for char in chars)}][^]*" if chars else "[^]+"]
    parts += [] if "" in node else [""]
    parts += [f"{ecma(char)}(?:{_strings_outside(node[char])})" for char in chars]  # type: ignore[arg-type]
    return "|".join(parts)


def ecma(char: str) -> str:
    """Returns a character as it is spelled in a pattern, where its spelling has no other meaning."""
    return char if char.isascii() and char.isalnum() else f"\\u{{{ord(char):x}}}"
