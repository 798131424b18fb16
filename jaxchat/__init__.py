"""jaxchat: chat completions from JAX, over gRPC, over REST, or in your own process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxchat.api import AsyncChat, Chat, load, load_async
    from jaxchat.errors import ChatError, ModelError

__version__ = "0.1.0"
__all__ = ["AsyncChat", "Chat", "ChatError", "ModelError", "load", "load_async"]

_HOMES = dict.fromkeys(("AsyncChat", "Chat", "load", "load_async"), "jaxchat.api")
_HOMES |= dict.fromkeys(("ChatError", "ModelError"), "jaxchat.errors")


def __getattr__(name: str) -> Any:
    """Loads public names on first use, so that a gRPC client does not pay for the engine's imports."""
    if name not in _HOMES:
        raise AttributeError(f"module 'jaxchat' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
