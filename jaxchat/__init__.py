"""jaxchat: chat completions from JAX, over gRPC, over REST, or in your own process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxchat.api import load, load_async
    from jaxchat.client import AsyncClient, Client
    from jaxchat.config import EngineConfig
    from jaxchat.errors import ChatError, ModelError

    __version__: str

__all__ = ["AsyncClient", "ChatError", "Client", "EngineConfig", "ModelError", "__version__", "load", "load_async"]

_HOMES = {
    "AsyncClient": "jaxchat.client",
    "ChatError": "jaxchat.errors",
    "Client": "jaxchat.client",
    "EngineConfig": "jaxchat.config",
    "ModelError": "jaxchat.errors",
    "load": "jaxchat.api",
    "load_async": "jaxchat.api",
}


def __getattr__(name: str) -> Any:
    """Loads public names on first use, so that a gRPC client does not pay for the engine's imports."""
    if name == "__version__":
        from importlib.metadata import version

        return version("jaxchat")
    if name not in _HOMES:
        raise AttributeError(f"module 'jaxchat' has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if _HOMES[name] != "jaxchat.api" or (error.name or "").startswith("jaxchat"):
            raise
        message = f"jaxchat.{name} needs the engine, of which {error.name} is missing: pip install 'jaxchat[engine]'"
        raise ImportError(message) from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
