"""A schema document. It limits how many subschemas are compared or negated while the document is translated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jaxchat.chat.grammar.json_schema.keywords import UnsupportedSchema
from jaxchat.chat.grammar.json_schema.refs import resolve

MAX_STEPS = 20_000  # subschemas that may be compared or negated


@dataclass
class Document:
    """A schema document.

    Attributes:
        root: the complete schema.
        strict: whether unknown keywords are errors.
    """

    root: Any
    strict: bool = False
    _steps: int = field(default=0, repr=False)

    def resolve(self, reference: Any, pointer: str) -> tuple[str, Any]:
        """Returns the JSON pointer and the value of a reference's target. Raises as `refs.resolve` does."""
        return resolve(self.root, reference, pointer)

    def count_step(self, pointer: str) -> None:
        """Counts one subschema that is compared or negated. Raises `UnsupportedSchema` beyond `MAX_STEPS`."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise UnsupportedSchema(pointer, f"oneOf, not and if take more than {MAX_STEPS} comparisons.")
