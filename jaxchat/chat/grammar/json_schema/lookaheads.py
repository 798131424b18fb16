"""Rewrites a regular expression that begins with lookaheads as several patterns, all of which must match."""

from __future__ import annotations

import re
from collections.abc import Iterator

from jaxchat.chat.grammar.json_schema.patterns import all_but, ecma

_ATOM = (
    r"\\(?:[pP]\{\w+(?:=\w+)?\}|u\{[0-9A-Fa-f]+\}|u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|[^0-9bBk])"
    r"|\[(?:\\.|[^\]\\])*\]|[^\\\[\]().*+?{}|^$]"
)
_ONE = re.compile(f"({_ATOM})")
_LITERAL = re.compile(r"\\[^\w\s]|[^\\\[\]().*+?{}|^$]")
_ANYWHERE = re.compile(r"(?:\.|\[\\s\\S\]|\[\\S\\s\]|\[\^\])\*\??")
_ONLY = re.compile(rf"({_ATOM})([*+])\$")
_TEXTS = re.compile(rf"(?:(?:{_LITERAL.pattern})*\|)*(?:{_LITERAL.pattern})*")
MAX_TEXT = 12  # characters in a negative lookahead
MAX_RESULT = 4000  # characters
_DURATION = r"\d+H(?:\d+M)?(?:\d+(?:[.,]\d+)?S)?|\d+M(?:\d+(?:[.,]\d+)?S)?|\d+(?:[.,]\d+)?S"
EQUIVALENT = {  # patterns of widely used libraries, and the same without lookaround
    r"^P(?:(\d+W)|(?!.*W)(?=\d|T\d)(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+([.,]\d+)?S)?)?)$": (
        rf"^P(?:\d+W|(?:\d+Y(?:\d+M)?(?:\d+D)?|\d+M(?:\d+D)?|\d+D)(?:T(?:{_DURATION}))?|T(?:{_DURATION}))$"
    ),
}


def without_lookaheads(pattern: str) -> list[str]:
    """Rewrites an ECMA-262 pattern that begins with lookaheads as several patterns, all of which a text must match.

    A text that matches all returned patterns also matches `pattern`. The reverse holds too, except where dialects
    differ in what `.` matches.

    A pattern in `EQUIVALENT` is first replaced by its equivalent. The pattern is then returned alone and unchanged if
    it does not begin with `^` and a lookahead, or if it has alternatives after its lookaheads.

    Raises:
        ValueError: a leading lookahead cannot be written without lookaround.
    """
    pattern = EQUIVALENT.get(pattern, pattern)
    rest, result = pattern.removeprefix("^"), []
    while rest.startswith(("(?=", "(?!")):
        end = _group_end(rest)
        content = rest[3:end]
        result += [f"^(?:{content})"] if rest[2] == "=" else [f"^(?!{content})"]
        rest = rest[end + 1 :]
    if not result or not pattern.startswith("^") or _has_alternatives(rest):
        return [pattern]
    return [*(_excluding(part[4:-1]) if part.startswith("^(?!") else part for part in result), f"^{rest}"]


def _group_end(text: str) -> int:
    """Returns the index of the bracket that closes the group at the beginning of `text`.

    Raises:
        ValueError: the group is not closed.
    """
    depth = 0
    for index, char in _syntax(text):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return index
    raise ValueError("a group is not closed")


def _has_alternatives(text: str) -> bool:
    depth = 0
    for _, char in _syntax(text):
        depth += (char == "(") - (char == ")")
        if char == "|" and depth == 0:
            return True
    return False


def _syntax(text: str) -> Iterator[tuple[int, str]]:
    """Yields the characters outside escapes and character classes, with their indexes."""
    for match in re.finditer(r"\\.|\[(?:\\.|[^\]\\])*\]|.", text, re.DOTALL):
        if len(match[0]) == 1:
            yield match.start(), match[0]


def _excluding(content: str) -> str:
    """Returns a pattern for the strings whose beginning does not match `content`.

    Raises:
        ValueError: `content` is too long, or not of a supported form.
    """
    content = content.removeprefix("^")
    if match := _ONLY.fullmatch(content):
        return f"{'^$|' if match[2] == '+' else ''}{_other_than(match[1])}"
    if match := _ANYWHERE.match(content):
        return _avoiding(content[match.end() :])
    if _ONE.fullmatch(content):
        return f"^(?:{_other_than(content)}[^]*)?$"
    grouped = re.fullmatch(r"\(\?:(.*)\)\$", content) or re.fullmatch(r"\((.*)\)\$", content)
    texts = grouped[1] if grouped else "|".join(part.removesuffix("$") for part in content.split("|"))
    ended = grouped or all(part.endswith("$") for part in content.split("|"))
    if ended and _TEXTS.fullmatch(texts):
        return all_but([_plain(text) for text in texts.split("|")])
    raise ValueError("a negative lookahead is supported only for a character, a list of texts, and '.*' before a text")


def _avoiding(content: str) -> str:
    """Returns a pattern for the strings that do not contain `content`, a text or one character class.

    Raises:
        ValueError: `content` is too long, or is neither a text nor one character class.
    """
    if _ONE.fullmatch(content):
        return f"^{_other_than(content)}*$"
    chars = _LITERAL.findall(content)
    if len(chars) > MAX_TEXT:
        raise ValueError("the text in a negative lookahead is too long")
    if not chars or "".join(chars) != content:
        raise ValueError("in a negative lookahead, only a text is supported after '.*'")
    return _avoiding_text([ecma(_plain(char)) for char in chars])  # plain, a dash would make a range in a class


def _avoiding_text(chars: list[str]) -> str:
    """Returns a pattern for the strings that do not contain a text, made from the automaton of Knuth, Morris and Pratt.

    In state i, the last i characters that were read are the first i characters of the text. The states are eliminated
    one by one, from the last to the first.

    Args:
        chars: the characters of the text, as `ecma` spells them.

    Raises:
        ValueError: the result is too long.
    """
    size = len(chars)
    steps: dict[tuple[int, int], list[str]] = {}
    for state in range(size):
        for char in dict.fromkeys(chars):
            read = [*chars[:state], char]
            target = next(length for length in range(len(read), -1, -1) if read[len(read) - length :] == chars[:length])
            if target < size:
                steps.setdefault((state, target), []).append(char)
        steps.setdefault((state, 0), []).append(f"[^{''.join(dict.fromkeys(chars))}]")
    ends = {state: [""] for state in range(size)}
    for state in range(size - 1, -1, -1):
        again = f"(?:{'|'.join(steps.pop((state, state), []))})*".replace("(?:)*", "")
        leaving = {target: paths for (source, target), paths in steps.items() if source == state}
        for source in range(state):
            for path in steps.pop((source, state), []):
                ends[source] += [f"{path}{again}{end}" for end in ends[state]]
                for target, paths in leaving.items():
                    steps.setdefault((source, target), []).extend(f"{path}{again}{item}" for item in paths)
        ends[state] = [f"{again}{end}" for end in ends[state]]
    result = f"^(?:{'|'.join(ends[0])})$"
    if len(result) > MAX_RESULT:
        raise ValueError("the text in a negative lookahead is too long")
    return result


def _other_than(atom: str) -> str:
    """Returns the character class of all characters that an atom does not match."""
    if atom.startswith("[^"):
        return f"[{atom[2:]}"
    return f"[^{atom[1:]}" if atom.startswith("[") else f"[^{atom}]"


def _plain(text: str) -> str:
    """Returns a text without the backslashes of its escapes."""
    return re.sub(r"\\(.)", r"\1", text)
