"""A tiny random model in Hugging Face form: byte tokens, ChatML template, float32."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from jaxchat.checkpoints.huggingface import save_hf
from jaxchat.kernels.attention.reference import causal
from jaxchat.models.decoder import Decoder
from jaxchat.models.families import from_hugging_face

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (  # its comment alone shows the format of calls
    '{# <tool_call>{"name": #}'
    "{% for tool in tools or [] %}{{ tool.function.name }}\n{% endfor %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONFIG = dict(
    architectures=["LlamaForCausalLM"],
    vocab_size=272,  # 262 tokens and some padding
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=1024,
    rms_norm_eps=1e-5,
    tie_word_embeddings=True,
)
EXPERTS = dict(architectures=["MixtralForCausalLM"], num_local_experts=6, num_experts_per_tok=2)


def tokenizer_json() -> str:
    """Returns a byte-level `tokenizer.json`: 256 bytes, one merge, the special tokens and two ordinary added ones."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {char: index for index, char in enumerate([*alphabet, "he"])}
    tokenizer = Tokenizer(models.BPE(vocab, [("h", "e")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.add_tokens(["<tool_call>", "</tool_call>"])
    return tokenizer.to_str()


def write(directory: Path, **changes: Any) -> Path:
    """Writes a model with a fixed random seed to `directory`, and returns it. `changes` are changed entries of
    `CONFIG`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    raw = {**CONFIG, **changes}
    config = from_hugging_face(raw)
    ids = jnp.arange(4)
    params = Decoder(config).init(jax.random.key(3), ids, ids, attend=causal)["params"]
    params = jax.tree.map(lambda leaf: leaf * 3 if leaf.ndim > 1 else leaf, params)  # livelier logits
    save_hf(params, config, directory, "float32")
    vocab = Tokenizer.from_str(tokenizer_json()).get_vocab()
    texts = {
        "config.json": json.dumps(raw),
        "tokenizer.json": tokenizer_json(),
        "tokenizer_config.json": json.dumps({"chat_template": TEMPLATE, "eos_token": "<|im_end|>"}),
        "generation_config.json": json.dumps({"eos_token_id": vocab["<|im_end|>"]}),
    }
    for name, text in texts.items():
        (directory / name).write_text(text)
    return directory
