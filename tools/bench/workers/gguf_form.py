"""Converts a model to GGUF. Runs in llama.cpp's environment.

`python -m tools.bench.workers.gguf_form DIRECTORY DTYPE`
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_path(model: Path) -> Path:
    """Returns the path of the GGUF file in a model directory, or `model` itself if it is a GGUF file."""
    return model if model.suffix == ".gguf" else model / "model.gguf"


def gguf_name(name: str) -> str:
    """Returns llama.cpp's name of a Hugging Face tensor."""
    stem, kind = name.rsplit(".", 1)
    layer = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", stem)
    return f"blk.{layer[1]}.{NAMES[layer[2]]}.{kind}" if layer else f"{NAMES[stem]}.{kind}"


def write(directory: Path, dtype: str) -> None:
    """Writes the GGUF file of a model.

    Args:
        directory: directory of the model.
        dtype: dtype of matrices: float32, bfloat16, or int8 for GGUF's Q8_0. Vectors are float32.
    """
    import gguf
    import numpy as np
    from safetensors import safe_open

    types = gguf.GGMLQuantizationType
    kind = {"float32": types.F32, "bfloat16": types.BF16, "int8": types.Q8_0}[dtype]
    config = json.loads((directory / "config.json").read_text("utf-8"))
    writer = gguf.GGUFWriter(gguf_path(directory).with_suffix(".part"), "qwen2")
    _describe(writer, config)
    _vocabulary(writer, directory)
    with safe_open(directory / "model.safetensors", framework="numpy") as tensors:
        for name in tensors.keys():  # noqa: SIM118 - no mapping
            values = tensors.get_tensor(name).astype(np.float32)
            if values.ndim == 2:
                writer.add_tensor(gguf_name(name), gguf.quants.quantize(values, kind), raw_dtype=kind)
            else:
                writer.add_tensor(gguf_name(name), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    gguf_path(directory).with_suffix(".part").rename(gguf_path(directory))


def _describe(writer: Any, config: dict[str, Any]) -> None:
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])


def _vocabulary(writer: Any, directory: Path) -> None:
    import gguf

    raw = json.loads((directory / "tokenizer.json").read_text("utf-8"))
    special = {entry["content"]: entry["id"] for entry in raw["added_tokens"]}
    ids = raw["model"]["vocab"] | special
    tokens = sorted(ids, key=ids.__getitem__)
    kinds = {True: gguf.TokenType.CONTROL, False: gguf.TokenType.NORMAL}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([kinds[token in special] for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in raw["model"]["merges"]])
    writer.add_eos_token_id(special["<|im_end|>"])


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2])
