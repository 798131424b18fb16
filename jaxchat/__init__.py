"""jaxchat: chat completions from JAX, over gRPC, over REST, or in your own process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxchat.api import AsyncChat, Chat, load, load_async
    from jaxchat.chat.response.reasoning import register_reasoning_format
    from jaxchat.chat.tools.format import register_tool_format
    from jaxchat.checkpoints.stored_form import register_checkpoint_form
    from jaxchat.errors import ChatError, ModelError
    from jaxchat.kernels.attention.select import register_attention_backend
    from jaxchat.models.families import register_family
    from jaxchat.sampling.processors import register_logits_processor

__version__ = "0.1.0"
__all__ = ["AsyncChat", "Chat", "ChatError", "ModelError", "load", "load_async"]

_HOMES = dict.fromkeys(("AsyncChat", "Chat", "load", "load_async"), "jaxchat.api")
_HOMES |= dict.fromkeys(("ChatError", "ModelError"), "jaxchat.errors")
_REGISTER = {
    "register_attention_backend": "jaxchat.kernels.attention.select",
    "register_checkpoint_form": "jaxchat.checkpoints.stored_form",
    "register_family": "jaxchat.models.families",
    "register_logits_processor": "jaxchat.sampling.processors",
    "register_reasoning_format": "jaxchat.chat.response.reasoning",
    "register_tool_format": "jaxchat.chat.tools.format",
}
__all__ += [
    "register_attention_backend",
    "register_checkpoint_form",
    "register_family",
    "register_logits_processor",
    "register_reasoning_format",
    "register_tool_format",
]
_HOMES |= _REGISTER


def __getattr__(name: str) -> Any:
    """Loads public names on first use, so that a gRPC client does not pay for the engine's imports."""
    if name not in _HOMES:
        raise AttributeError(f"module 'jaxchat' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
