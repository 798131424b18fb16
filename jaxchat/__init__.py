"""jaxchat: chat completions from JAX, over gRPC, over REST, or in your own process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxchat.api import load, load_async, plan
    from jaxchat.chat.response.reasoning import register_reasoning_format
    from jaxchat.chat.tools.format import register_tool_format
    from jaxchat.checkpoints.stored_form import register_checkpoint_form
    from jaxchat.client import AsyncClient, Client
    from jaxchat.config import EngineConfig
    from jaxchat.errors import ChatError, ModelError
    from jaxchat.kernels.attention.select import register_attention_backend
    from jaxchat.models.families import register_family
    from jaxchat.sampling.processors import register_logits_processor

    __version__: str

__all__ = [
    "AsyncClient",
    "ChatError",
    "Client",
    "EngineConfig",
    "ModelError",
    "__version__",
    "load",
    "load_async",
    "plan",
    "register_attention_backend",
    "register_checkpoint_form",
    "register_family",
    "register_logits_processor",
    "register_reasoning_format",
    "register_tool_format",
]

_HOMES = {
    "AsyncClient": "jaxchat.client",
    "ChatError": "jaxchat.errors",
    "Client": "jaxchat.client",
    "EngineConfig": "jaxchat.config",
    "ModelError": "jaxchat.errors",
    "load": "jaxchat.api",
    "load_async": "jaxchat.api",
    "plan": "jaxchat.api",
    "register_attention_backend": "jaxchat.kernels.attention.select",
    "register_checkpoint_form": "jaxchat.checkpoints.stored_form",
    "register_family": "jaxchat.models.families",
    "register_logits_processor": "jaxchat.sampling.processors",
    "register_reasoning_format": "jaxchat.chat.response.reasoning",
    "register_tool_format": "jaxchat.chat.tools.format",
}


def __getattr__(name: str) -> Any:
    """Returns the object with a public name. Imports it on first use, so that a gRPC client never imports the engine.

    Raises:
        AttributeError: jaxchat has no such name.
        ImportError: the name needs the engine, and one of the engine's packages is not installed.
    """
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
        message = f"jaxchat.{name} needs the engine, of which {error.name} is missing: pip install jaxchat"
        raise ImportError(message) from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
