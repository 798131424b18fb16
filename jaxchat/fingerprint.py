"""The form of `system_fingerprint`."""

from __future__ import annotations

import hashlib


def fingerprint(text: str) -> str:
    """Returns `fp_` and ten hexadecimal digits that differ for texts that differ."""
    return f"fp_{hashlib.sha256(text.encode()).hexdigest()[:10]}"
