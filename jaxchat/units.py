"""Numbers with units, as people read them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Returns a time as `1.50 s`, `12.34 ms` or `56.7 us`."""
    for unit, factor in (("s", 1), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:,.2f} {unit}"
    return f"{seconds * 1e6:,.1f} us"


def memory_size(size: float) -> str:
    """Returns a number of bytes in GiB, MiB or KiB."""
    for unit, exponent in (("GiB", 3), ("MiB", 2)):
        if size >= 1024**exponent:
            return f"{size / 1024**exponent:,.2f} {unit}"
    return f"{size / 1024:,.2f} KiB"


def large_number(number: int) -> str:
    """Returns a number in billions (B) or millions (M)."""
    return f"{number / 1e9:,.2f} B" if number >= 1e9 else f"{number / 1e6:,.1f} M"


def percent(share: float) -> str:
    """Returns a share from 0 to 1 in per cent, with more digits near 0 and 100.

    Shares above 0 and below 0.0001 are `< 0.01 %`. Shares from 0.999995 on are `100.0 %`.
    """
    value = 100 * share
    if 99.95 <= value < 99.9995:
        return f"{value:.3f} %"
    if value >= 10 or value == 0:
        return f"{value:.1f} %"
    return f"{value:.2f} %" if value >= 0.01 else "< 0.01 %"
