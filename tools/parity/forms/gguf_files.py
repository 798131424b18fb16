"""Writes a small Qwen2 as a GGUF file, with matrices in blocks of one type, and the view that serves it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter

from jaxchat.checkpoints.gguf.file import open_gguf
from jaxchat.checkpoints.gguf.manifest import manifest
from jaxchat.checkpoints.gguf.view import read_gguf_config

TYPES = ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K", "MXFP4")
LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_SCALES: dict[str, tuple[slice, tuple[float, ...]]] = {  # places of the f16 scales in a block, and their values
    "Q4_K": (slice(0, 4), (1e-3, 7.5e-3)),
    "Q5_K": (slice(0, 4), (5e-4, 7.75e-3)),
    "Q6_K": (slice(-2, None), (1e-4,)),
}


def write(directory: Path, tensors: dict[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    """Writes `model.gguf` and its view to `directory`. The view replaces `config.json`.

    Args:
        directory: the directory of the model in Hugging Face form.
        tensors: the tensors of the model by their Hugging Face names, f32.
        kind: the type of the matrices of the layers. Other tensors are F32.

    Returns:
        The dequantised values of the layers' matrices, f32, by their Hugging Face names.
    """
    path, stood_for = directory / "model.gguf", {}
    writer = GGUFWriter(path, "qwen2")
    for key, value in _metadata(json.loads((directory / "config.json").read_text())).items():
        {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string, list: writer.add_array}[
            type(value)
        ](key, value)
    for name, tensor in tensors.items():
        if not name.endswith("_proj.weight"):
            writer.add_tensor(_name_of(name), tensor)
            continue
        blocks, raw = _blocks(tensor, kind), GGMLQuantizationType[kind]
        writer.add_tensor(_name_of(name), blocks, raw_dtype=raw)
        stood_for[name] = gguf.dequantize(blocks, raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | read_gguf_config(path)))
    (directory / "gguf.json").write_text(manifest(open_gguf(path)))
    return stood_for


def _blocks(tensor: np.ndarray, kind: str) -> np.ndarray:
    """Returns a matrix in blocks, u8. If the `gguf` package cannot round to the type, the codes are random."""
    if kind not in _SCALES:
        return gguf.quantize(tensor, GGMLQuantizationType[kind])
    values, size = gguf.GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    rng = np.random.default_rng(tensor.size)
    blocks = rng.integers(0, 256, (len(tensor), tensor.shape[1] // values, size), np.uint8)
    place, scales = _SCALES[kind]
    blocks[..., place] = np.array(scales, np.float16).view(np.uint8)
    return blocks.reshape(len(tensor), -1)


def _name_of(name: str) -> str:
    base, _, suffix = name.rpartition(".")
    if base in OUTER:
        return f"{OUTER[base]}.{suffix}"
    _, _, index, base = base.split(".", 3)
    return f"blk.{index}.{LAYER[base]}.{suffix}"


def _metadata(config: dict[str, Any]) -> dict[str, Any]:
    keys = {
        "block_count": config["num_hidden_layers"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        "rope.freq_base": float(config["rope_parameters"]["rope_theta"]),
    }
    vocabulary = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": [f"t{index}" for index in range(config["vocab_size"])],
    }
    return {**{f"qwen2.{key}": value for key, value in keys.items()}, **vocabulary}
