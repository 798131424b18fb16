"""Texts for errors about a path that is not a model: what the path is, and which path to give instead."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path

_LISTED = 3  # names that a message lists
_ADAPTER_CONFIG = "adapter_config.json"
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".ckpt", ".onnx")
_NO_TEXT = (
    (("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"), "a classifier"),
    (("ForMaskedLM", "BertModel", "RobertaModel", "MPNetModel", "NewModel", "T5EncoderModel"), "an embedding model"),
    (("ForImageClassification", "ForObjectDetection", "ViTModel", "Dinov2Model"), "a vision model"),
    (("CLIPModel", "SiglipModel"), "a model that embeds images and text"),
    (("WhisperForConditionalGeneration", "ForCTC", "Wav2Vec2Model"), "a speech recogniser"),
)
"""Ends of the names of architectures with what such models are, the first that fits."""


def nearest_path(model: str) -> str:
    """Returns text that completes a message about a path that does not exist, with the most similar path.

    The text is "" if the folder has nothing similar.
    """
    path = Path(model).expanduser()
    names = [each.name for each in _children(path.parent)]
    near = get_close_matches(path.name, names, n=1, cutoff=0.7)
    return f"; did you mean {Path(model).parent / near[0]}?" if near else ""


def describe_file(model: str) -> str:
    """Returns text that says what to do about a file that was named in place of a model's directory."""
    path = Path(model)
    if (path.parent / "config.json").is_file():
        return f"a file, not the directory of a model; name its folder, {path.parent}"
    if path.suffix in _WEIGHTS:
        return (
            "weights alone are not a model; put config.json and tokenizer.json beside them, and name the directory of "
            "a model, its folder"
        )
    return "a file, not the directory of a model; name its folder"


def describe_directory(directory: Path) -> str:
    """Returns text that says what a directory without `config.json` is. Lists models in its subdirectories."""
    children = _children(directory)
    models = [child for child in children if (child / "config.json").is_file()]
    if models:
        listed = ", ".join(map(str, models[:_LISTED]))
        return f"a directory without config.json, not a model; it has {'models' if models[1:] else 'a model'}: {listed}"
    if (directory / "model_index.json").is_file():
        return "an image generator in the format of diffusers, which does not write text"
    if not children:
        return "an empty directory, not a model"
    return "a directory without config.json, not a model; a model in Hugging Face form has one beside its weights"


def base_of_adapter(directory: Path) -> str:
    """Returns the name of the model that an adapter was made for, or "" if the directory does not tell."""
    try:
        base = json.loads((directory / _ADAPTER_CONFIG).read_text("utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):
        return ""
    return base if isinstance(base, str) else ""


def kind_of_architecture(architecture: str) -> str:
    """Returns what models of an unsupported architecture are, such as "an embedding model", or "" if not known."""
    return next((kind for ends, kind in _NO_TEXT if architecture.endswith(ends)), "")


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []
