"""Downloads models from the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from jaxchat.errors import ModelError

_REASONS = {
    "GatedRepoError": "the hub asks to accept the model's licence first; do so on its page, then set HF_TOKEN",
    "RepositoryNotFoundError": "the hub has no model of that name, or it is private and HF_TOKEN is not set",
    "OfflineModeIsEnabled": "HF_HUB_OFFLINE is set, and the model is not in the hub's cache here",
    "IncompleteSnapshotError": "the hub cannot be reached, and its cache here has only a part of the model",
    "LocalEntryNotFoundError": "the hub cannot be reached, and the model is not in its cache here",
    "HFValidationError": "not a name that the hub could have",
}
"""Reasons by the name of the exception's class."""


def download(model: str) -> Path:
    """Downloads the files of a model that are not in the hub's local cache. Returns the model's directory.

    Args:
        model: the hub id, owner/name.

    Raises:
        ModelError: the hub does not provide the model, or huggingface_hub is not installed. The message is one line.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ModelError(f"{model}: fetching from the hub needs `pip install 'jaxchat[hub]'`") from None
    try:
        return Path(snapshot_download(model, allow_patterns=["*.json", "*.safetensors", "*.jinja"]))
    except Exception as error:  # the hub client raises many types, all of them failures to download
        raise ModelError(f"{model}: no such directory, and the hub did not provide it: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Returns one line that says why a download failed."""
    for kind in type(error).__mro__:
        if kind.__name__ in _REASONS:
            return _REASONS[kind.__name__]
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
