"""The string formats that are enforced. `PATTERNS` replaces patterns of the grammar library that accept too much."""

from __future__ import annotations

import re
from typing import Any

_LEAP = r"(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_YEAR = r"(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_DAY = (
    r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
_DATE = rf"(?:{_YEAR}-{_DAY}|{_LEAP}-02-29)"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"

PATTERNS = {
    "date": f"^{_DATE}$",
    "time": f"^{_TIME}$",
    "date-time": f"^{_DATE}T{_TIME}$",
}
TIMES = frozenset({"time", "date-time"})
NATIVE = frozenset({"duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"})
ENFORCED = NATIVE | PATTERNS.keys()
LONGEST = {"hostname": 253}  # characters; the library's pattern limits each label but not the total
_PATTERN_TOKENS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)  # escapes, classes, single characters


def is_annotation(name: Any) -> bool:
    """Returns whether a format is not enforced. Returns False for a value that is not a string."""
    return isinstance(name, str) and name not in ENFORCED


def is_whole(pattern: Any) -> bool:
    """Returns whether a pattern begins with `^` and ends with `$`, so that it describes a complete text.

    Returns False for a choice such as `^a|b$`: its `^` belongs only to the first alternative, its `$` only to the last.
    """
    if not (isinstance(pattern, str) and pattern.startswith("^") and pattern.endswith("$")):
        return False
    depth = 0
    for token in _PATTERN_TOKENS.findall(pattern):
        depth += (token == "(") - (token == ")")
        if token == "|" and not depth:
            return False
    return _PATTERN_TOKENS.findall(pattern)[-1] == "$"  # not an escaped one
