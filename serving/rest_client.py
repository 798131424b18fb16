"""A connection from a command to a REST server, by aiohttp."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from serving.config import RestClientConfig

if TYPE_CHECKING:
    import aiohttp


def base_url(url: str) -> str:
    """Returns a server's URL without the path of the API: `http://host:8000` for `http://host:8000/v1/`.

    Raises:
        ValueError: the URL does not begin with http:// or https:// and a host.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"the URL must be as http://host:8000, got {url!r}")
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


def open_session(config: RestClientConfig, timeout: float | None = None) -> aiohttp.ClientSession:
    """Returns a client session with the server's API key. Its connections are not limited in number.

    Args:
        config: files with the key and the authorities.
        timeout: seconds that a request may take; None for no limit.

    Raises:
        ModuleNotFoundError: aiohttp is not installed.
        OSError: a file cannot be read.
        ValueError: the file of authorities is not in PEM form.
    """
    import aiohttp

    headers = {"content-type": "application/json"}
    if config.api_key_file:
        headers["authorization"] = f"Bearer {Path(config.api_key_file).read_text('utf-8').strip()}"
    return aiohttp.ClientSession(
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=timeout),
        connector=aiohttp.TCPConnector(limit=0, ssl=_tls(config.ca)),
    )


def _tls(authorities: str | None) -> ssl.SSLContext | bool:
    """Returns a TLS context that trusts the file `authorities`, or True for the authorities of the system."""
    if authorities is None:
        return True
    try:
        return ssl.create_default_context(cafile=authorities)
    except ssl.SSLError as error:
        raise ValueError(f"--ca {authorities}: {error}") from None
