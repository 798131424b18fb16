"""Names what installs a missing package."""

from __future__ import annotations

_EXTRAS = {
    "huggingface_hub": "hub",
    "msgpack": "kv-events",
    "matplotlib": "plot",
    "opentelemetry": "otel",
    "orbax": "orbax",
    "zmq": "kv-events",
}
"""Extras by the top-level module that they bring. A plain install brings all modules that are not listed."""


def missing_package(error: ModuleNotFoundError) -> str | None:
    """Returns a line that names a missing package and what installs it.

    Returns None if the missing module belongs to jaxchat itself. Beside a client that was installed without the other
    packages, any package may be missing.
    """
    name = (error.name or "serving").partition(".")[0]
    if name in ("jaxchat", "serving"):
        return None
    extra = _EXTRAS.get(name)
    advice = f"'jaxchat[{extra}]'" if extra else "jaxchat"
    return f"jaxchat: {error.name} is missing: pip install {advice}"
