"""Integer arithmetic that several layers need."""

from __future__ import annotations


def cdiv(dividend: int, divisor: int) -> int:
    """Returns `dividend / divisor`, rounded up to a whole number; `divisor` is positive."""
    return -(-dividend // divisor)
