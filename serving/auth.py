"""API keys: a file of keys or of their hashes, and the check of a caller's `authorization`."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from jaxchat.errors import invalid_api_key

_PREFIX = "sha256:"
_COMMENT = re.compile(r"(^|\s)#.*")
_KEY = re.compile(r"[!-~]+")  # printable ASCII without spaces: what an HTTP header carries unchanged


class ApiKeys:
    """The keys that clients may use. Only their SHA-256 is kept."""

    def __init__(self, digests: Iterable[bytes]) -> None:
        self._digests = tuple(digests)

    def check(self, authorization: str) -> None:
        """Takes an `authorization` value, `Bearer KEY`. Raises `ChatError` (401) unless it has one of the keys.

        The time that it takes says nothing about the keys: hashes are compared, in constant time, all of them.
        """
        scheme, _, key = authorization.partition(" ")
        digest = _digest(key.strip())
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        if not any(matches) or scheme.lower() != "bearer":
            raise invalid_api_key()


def read_keys(path: str | None) -> ApiKeys | None:
    """Returns the keys in a file: a line each, `sha256:HEX` or plain; `#` begins a comment. None without a path.

    Raises:
        ValueError: the file cannot be read, has no keys, or a line is neither; names the line, never what it says.
    """
    if path is None:
        return None
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except OSError as error:
        raise ValueError(f"--api-keys {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"--api-keys {path}: not a text file in UTF-8") from None
    digests = []
    for number, line in enumerate(lines, 1):
        if text := _COMMENT.sub("", line).strip():
            digests.append(_parse(text, f"--api-keys {path}, line {number}"))
    if not digests:
        raise ValueError(f"--api-keys {path}: there is no key in it; `jaxchat keys` makes one")
    return ApiKeys(digests)


def new_key() -> tuple[str, str]:
    """A random key of 256 bits, and the line that lets it in."""
    key = f"jc-{secrets.token_urlsafe(32)}"
    return key, _PREFIX + _digest(key).hex()


def _parse(text: str, where: str) -> bytes:
    if text.startswith(_PREFIX):
        try:
            digest = bytes.fromhex(text.removeprefix(_PREFIX))
        except ValueError:
            digest = b""
        if len(digest) != sha256().digest_size:
            raise ValueError(f"{where}: 'sha256:' must be followed by 64 hexadecimal digits")
        return digest
    if not _KEY.fullmatch(text):
        raise ValueError(f"{where}: a key has printable ASCII characters only, and no spaces")
    return _digest(text)


def _digest(key: str) -> bytes:
    return sha256(key.encode("utf-8", "replace")).digest()
