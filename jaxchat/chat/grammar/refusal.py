"""Why a schema is refused."""

from __future__ import annotations


class Refusal(Exception):
    """A schema that cannot be enforced: names the keyword and its JSON pointer, as in `#/properties/a`."""

    def __init__(self, pointer: str, reason: str, keyword: str | None = None) -> None:
        self.pointer = pointer
        self.keyword = keyword
        where = f"'{keyword}' at {pointer}" if keyword else pointer
        super().__init__(f"Schema {where}: {reason}")


def below(pointer: str, *steps: str | int) -> str:
    """The pointer of a part of what `pointer` names."""
    return "".join([pointer, *("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)])
