"""Writes the tiny model of `tests.tiny` as llama.cpp's conversion would, and GGUF files of arbitrary content."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from tests import tiny
from tools.parity.forms.gguf_files import LAYER, OUTER

Values = Mapping[str, Any]


def write_checkpoint(directory: Path, **changes: Any) -> Path:
    """Writes a tiny Llama with random weights in Hugging Face form, like `tests.tiny.write` but without jax.

    Args:
        directory: the directory to write, which is also the result.
        changes: entries of `config.json` that replace or extend `tests.tiny.CONFIG`.
    """
    config = {**tiny.CONFIG, "hidden_size": 64, "tie_word_embeddings": False, **changes}
    width, inner, heads, kv_heads = (
        config[key] for key in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
    )
    keys = width // heads * kv_heads
    outer = {"model.embed_tokens": (config["vocab_size"], width), "model.norm": (width,)}
    shapes = outer if config["tie_word_embeddings"] else {**outer, "lm_head": outer["model.embed_tokens"]}
    sizes = {
        **{"input_layernorm": (width,), "post_attention_layernorm": (width,), "mlp.down_proj": (width, inner)},
        **{"self_attn.q_proj": (width, width), "self_attn.o_proj": (width, width)},
        **{f"self_attn.{name}_proj": (keys, width) for name in "kv"},
        **{f"mlp.{name}_proj": (inner, width) for name in ("gate", "up")},
    }
    for layer in range(config["num_hidden_layers"]):
        shapes = {**shapes, **{f"model.layers.{layer}.{name}": shape for name, shape in sizes.items()}}
    rng = np.random.default_rng(0)
    tensors = {f"{name}.weight": rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    save_file(tensors, directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "tokenizer.json").write_text(tiny.tokenizer_json())
    return directory


def write(
    path: Path, tensors: Mapping[str, np.ndarray], metadata: Values, kinds: Mapping[str, str] | None = None
) -> Path:
    """Writes a GGUF file and returns its path.

    Args:
        path: the file.
        tensors: the tensors by name.
        metadata: values by key.
        kinds: GGUF types by the end of tensor names; other tensors are F32.
    """
    writer = GGUFWriter(path, str(metadata["general.architecture"]))
    for key, value in metadata.items():
        put(writer, key, value)
    for name, tensor in tensors.items():
        kind = next((kind for end, kind in (kinds or {}).items() if name.endswith(end)), "F32")
        raw = GGMLQuantizationType[kind]
        writer.add_tensor(name, gguf.quantize(np.ascontiguousarray(tensor, np.float32), raw), raw_dtype=raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def put(writer: GGUFWriter, key: str, value: Any) -> None:
    """Adds a key with the type that llama.cpp uses for such values."""
    if key == "general.architecture":
        return
    adders: dict[type, Callable[[str, Any], None]] = {
        bool: writer.add_bool,
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
        list: writer.add_array,
    }
    adders[type(value)](key, value)


def reordered(tensor: np.ndarray, heads: int) -> np.ndarray:
    """Moves the two halves of each head into alternating rows, as the conversion does for queries and keys of Llama."""
    return np.concatenate([np.stack(np.split(head, 2), 1).reshape(head.shape) for head in np.split(tensor, heads)])


def tensors_of(directory: Path) -> dict[str, np.ndarray]:
    """Returns the tensors of a Llama in Hugging Face form by their names in GGUF files."""
    config = json.loads((directory / "config.json").read_text())
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    tensors = {}
    for name, tensor in load_file(directory / "model.safetensors").items():
        base, _, suffix = name.rpartition(".")
        if base in OUTER:
            tensors[f"{OUTER[base]}.{suffix}"] = tensor
            continue
        _, _, index, base = base.split(".", 3)
        target = LAYER[base]
        tensors[f"blk.{index}.{target}.{suffix}"] = reordered(tensor, heads[target]) if target in heads else tensor
    return tensors


def metadata_of(directory: Path, architecture: str = "llama") -> dict[str, Any]:
    """Returns the metadata of a model in Hugging Face form with the tokenizer of `tests.tiny`."""
    config = json.loads((directory / "config.json").read_text())
    keys = {
        "block_count": config["num_hidden_layers"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        "rope.dimension_count": config["hidden_size"] // config["num_attention_heads"],
        "vocab_size": config["vocab_size"],
    }
    return {
        "general.architecture": architecture,
        "general.name": "Tiny",
        **{f"{architecture}.{key}": value for key, value in keys.items()},
        **vocabulary_of(directory, config["vocab_size"]),
    }


def vocabulary_of(directory: Path, size: int) -> dict[str, Any]:
    """Returns the metadata about a byte-level tokenizer, with padding up to `size` tokens."""
    spec = json.loads((directory / "tokenizer.json").read_text())
    ids = Tokenizer.from_str(json.dumps(spec)).get_vocab()
    spellings = {id_: token for token, id_ in ids.items()}
    added = {token["id"]: token["special"] for token in spec["added_tokens"]}
    kinds = {True: TokenType.CONTROL, False: TokenType.USER_DEFINED}
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": [spellings.get(id_, f"[PAD{id_}]") for id_ in range(size)],
        "tokenizer.ggml.token_type": [
            int(kinds[added[id_]] if id_ in added else TokenType.NORMAL if id_ in spellings else TokenType.UNUSED)
            for id_ in range(size)
        ],
        "tokenizer.ggml.merges": [" ".join(merge) for merge in spec["model"]["merges"]],
        "tokenizer.ggml.eos_token_id": ids["<|im_end|>"],
        "tokenizer.ggml.bos_token_id": ids["<|endoftext|>"],
        "tokenizer.chat_template": tiny.TEMPLATE,
    }


def write_tiny(path: Path, directory: Path, kinds: Mapping[str, str] | None = None, **changes: Any) -> Path:
    """Writes the model in `directory` as a GGUF file and returns the file's path.

    Args:
        path: the file.
        directory: a model in Hugging Face form.
        kinds: GGUF types by the end of tensor names; other tensors are F32.
        changes: changed metadata by key; None removes a key.
    """
    metadata = {**metadata_of(directory), **changes}
    return write(
        path, tensors_of(directory), {key: value for key, value in metadata.items() if value is not None}, kinds
    )
