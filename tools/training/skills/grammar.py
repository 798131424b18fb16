"""A small grammar that writes texts with many equally likely choices, and recognises the texts that it can write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random

from tools.training.skills.texts import FOLDER

_FIELD = re.compile(r"\{(?:(\w+):)?(\w+)\}")
Bound = Mapping[str, str]


class Grammar:
    """A grammar of symbols, each with alternatives of equal probability.

    An alternative may have fields. `{symbol}` is replaced by an alternative of that symbol. `{name:symbol}` also
    remembers the text under a name. `{name}` and `{name:symbol}` repeat a remembered text.

    Args:
        alternatives: the alternatives of each symbol.
    """

    def __init__(self, alternatives: Mapping[str, tuple[str, ...]]) -> None:
        self._alternatives = alternatives

    def write(self, rng: Random, symbol: str, bound: Bound) -> str:
        """Returns a random text of `symbol`. `bound` has remembered texts by name."""
        return self._write(rng, symbol, dict(bound))

    def _write(self, rng: Random, symbol: str, known: dict[str, str]) -> str:
        def fill(field: re.Match[str]) -> str:
            name, target = field.groups()
            if (name or target) in known:
                return known[name or target]
            text = self._write(rng, target, known)
            if name:
                known[name] = text
            return text

        return _FIELD.sub(fill, rng.choice(self._alternatives[symbol]))

    def accepts(self, symbol: str, bound: Bound, text: str) -> bool:
        """Returns whether `write` can return `text` with these arguments."""
        return any(not rest for rest, _ in self._prefixes(symbol, dict(bound), text))

    def _prefixes(self, symbol: str, known: dict[str, str], text: str) -> list[tuple[str, dict[str, str]]]:
        """Returns the remaining text and the remembered texts for each way to read a beginning of `text`."""
        found = []
        for alternative in self._alternatives[symbol]:
            states = [(text, known)]
            position = 0
            for field in (*_FIELD.finditer(alternative), None):
                literal = alternative[position : field.start() if field else len(alternative)]
                states = [(rest[len(literal) :], names) for rest, names in states if rest.startswith(literal)]
                if field:
                    states = [after for state in states for after in self._field(field, *state)]
                    position = field.end()
            found += states
        return found

    def _field(self, field: re.Match[str], text: str, known: dict[str, str]) -> list[tuple[str, dict[str, str]]]:
        name, target = field.groups()
        if (name or target) in known:
            value = known[name or target]
            return [(text[len(value) :], known)] if text.startswith(value) else []
        return [
            (rest, names | ({name: text[: len(text) - len(rest)]} if name else {}))
            for rest, names in self._prefixes(target, known, text)
        ]


def read_grammar(name: str) -> dict[str, tuple[str, ...]]:
    """Returns the alternatives of each symbol in a text file.

    A symbol is a line such as `animal:`. Its alternatives are the indented lines below it.
    """
    alternatives: dict[str, list[str]] = {}
    symbol = ""
    for line in (FOLDER / name).read_text("utf-8").splitlines():
        if line.startswith(" "):
            alternatives[symbol].append(line.strip().replace("\\n", "\n"))
        else:
            symbol = line.removesuffix(":")
            alternatives[symbol] = []
    return {symbol: tuple(texts) for symbol, texts in alternatives.items()}
