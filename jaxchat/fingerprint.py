"""The form of `system_fingerprint`."""

from __future__ import annotations

import hashlib


def fingerprint(text: str) -> str:
    """Returns `fp_` and the first ten hexadecimal digits of the SHA-256 of `text`."""
    return f"fp_{hashlib.sha256(text.encode()).hexdigest()[:10]}"
