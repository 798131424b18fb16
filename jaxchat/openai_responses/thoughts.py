"""Writes a model's thoughts as the `encrypted_content` of a reasoning item, and reads them back.

The server has no key and stores nothing, so the text is encoded only: a client can read it.
"""

from __future__ import annotations

import base64
import binascii

from jaxchat.errors import invalid, safe_repr

_PREFIX = "jaxchat1."


def sealed(thoughts: str) -> str:
    """Returns thoughts as the text for `encrypted_content`."""
    return _PREFIX + base64.urlsafe_b64encode(thoughts.encode()).decode()


def opened(text: str, path: str) -> str:
    """Returns the thoughts in an `encrypted_content`. Raises `ChatError` 400 if this server did not write it."""
    try:
        if not text.startswith(_PREFIX):
            raise ValueError
        return base64.b64decode(text.removeprefix(_PREFIX).encode("ascii"), b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        reason = f"another server wrote this, and only that one can read it, got {safe_repr(text)}."
        raise invalid(path, reason) from None
