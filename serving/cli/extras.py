"""Names the extra of jaxchat that installs a missing package."""

from __future__ import annotations

_EXTRAS = {
    "aiohttp": "bench",
    "huggingface_hub": "hub",
    "msgpack": "kv-events",
    "matplotlib": "plot",
    "opentelemetry": "otel",
    "orbax": "orbax",
    "prometheus_client": "rest",
    "starlette": "rest",
    "uvicorn": "rest",
    "zmq": "kv-events",
}
"""Extras by the top-level module that they bring. The extra `server` brings all modules that are not listed."""


def missing_package(error: ModuleNotFoundError) -> str | None:
    """Returns a line that names a missing package and the extra that installs it.

    Returns None if the missing module belongs to jaxchat itself. A plain install of jaxchat has only the packages of
    the Python client, so any other package may be missing.
    """
    name = (error.name or "serving").partition(".")[0]
    if name in ("jaxchat", "serving"):
        return None
    extra = _EXTRAS.get(name)
    advice = f"'jaxchat[{extra}]'" if extra else "'jaxchat[server]', or 'jaxchat[rest]' for REST too"
    return f"jaxchat: {error.name} is missing: pip install {advice}"
