"""The comparison of templates as a table in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tools.templates.calls import Reading
from tools.templates.compare import Comparison, Status

_COLUMNS = (
    "template",
    "equal",
    "refused by both",
    "by rule",
    "only jaxchat refuses",
    "differs",
    "tool format",
    "calls read",
    "needed",
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """The results of one template.

    Attributes:
        name: name of the template.
        comparisons: one for each conversation; none if jaxchat cannot load the template.
        refused: whether neither jaxchat nor `transformers` can load the template.
        tool_format: name of the tool format that jaxchat detects.
        calls_read: whether the parser of that tool format reads the calls that the template writes.
        needed: sentences about what the template does not show, or the reason why jaxchat cannot load it.
    """

    name: str
    comparisons: Sequence[Comparison] = ()
    refused: bool = False
    tool_format: str = ""
    calls_read: Reading = ""
    needed: Sequence[str] = ()

    @property
    def explained(self) -> bool:
        """Whether rules explain all differences, or neither jaxchat nor `transformers` can load the template."""
        if not self.comparisons:
            return self.refused
        return not self.named("differs") + self.named("only jaxchat refuses")

    def named(self, status: Status) -> list[str]:
        """Returns the names of the conversations whose comparison has this status."""
        return [comparison.conversation for comparison in self.comparisons if comparison.status == status]


def table(rows: Sequence[Row]) -> str:
    """Returns the rows as a table in Markdown."""
    lines = [_line(_COLUMNS), _line(["---"] * len(_COLUMNS)), *(_line(_cells(row)) for row in rows)]
    return "\n".join(lines)


def _cells(row: Row) -> list[str]:
    rules = Counter(rule for each in row.comparisons if each.status == "by rule" for rule in each.rules)
    return [
        row.name,
        f"{len(row.named('equal'))}/{len(row.comparisons)}",
        str(len(row.named("refused by both"))),
        ", ".join(f"{rule} ({count})" for rule, count in rules.items()),
        ", ".join(row.named("only jaxchat refuses")),
        ", ".join(row.named("differs")),
        row.tool_format,
        row.calls_read,
        "; ".join(row.needed),
    ]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
