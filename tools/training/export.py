"""Converts a training checkpoint to a Hugging Face model folder."""

from __future__ import annotations

import argparse
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from tokenizers import Tokenizer

import jaxchat.bundled
from jaxchat.checkpoints.huggingface import save_hf
from jaxchat.models.config import ModelConfig
from tools.training.template import SOURCE
from tools.training.tokenizer import MARKERS, SPECIAL
from tools.training.train import config_of


def model_config(config: ModelConfig, tokenizer: Tokenizer) -> dict[str, Any]:
    """Returns the content of `config.json`.

    Args:
        config: the model.
        tokenizer: its tokenizer, which gives the ids of special tokens.
    """
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.embed_dim,
        "intermediate_size": config.mlp_dim,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.max_seq_len,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.kinds[0].rope.theta,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": config.tie_embeddings,
        "bos_token_id": None,
        "eos_token_id": tokenizer.token_to_id("<|im_end|>"),
        "pad_token_id": tokenizer.token_to_id("<|endoftext|>"),
        "torch_dtype": "bfloat16",
    }


def tokenizer_config(config: ModelConfig, tokenizer: Tokenizer) -> dict[str, Any]:
    """Returns the content of `tokenizer_config.json`, including the chat template.

    Args:
        config: the model.
        tokenizer: its tokenizer, which gives the ids of added tokens.
    """
    added = {
        str(tokenizer.token_to_id(token)): {
            "content": token,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": token in SPECIAL,
        }
        for token in (*SPECIAL, *MARKERS)
    }
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.max_seq_len,
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "added_tokens_decoder": added,
        "chat_template": SOURCE,
    }


def generation_config(tokenizer: Tokenizer) -> dict[str, Any]:
    """Returns the content of `generation_config.json`."""
    end, pad = tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")
    return {"eos_token_id": [end, pad], "pad_token_id": pad}


def mean(checkpoints: Sequence[Path]) -> Any:
    """Returns the mean parameters of several checkpoints of one training run.

    The mean usually gives better answers than each checkpoint (arXiv 2203.05482).
    """
    trees = [pickle.loads(path.read_bytes())["params"] for path in checkpoints]
    return jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *trees)


def export(work: Path, directory: Path, others: Sequence[Path] = ()) -> None:
    """Writes a model folder with bf16 weights.

    Args:
        work: folder with `checkpoint.pkl` and `tokenizer.json`.
        directory: folder to write.
        others: checkpoints to average with the checkpoint in `work`.
    """
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    config = config_of(tokenizer)
    directory.mkdir(parents=True, exist_ok=True)
    params = mean([work / "checkpoint.pkl", *others])
    save_hf(params, config, directory, "bfloat16")
    (directory / "model.safetensors").chmod(0o644)  # safetensors makes the file private to the user
    tokenizer.save(str(directory / "tokenizer.json"))
    files = {
        "config.json": model_config(config, tokenizer),
        "tokenizer_config.json": tokenizer_config(config, tokenizer),
        "generation_config.json": generation_config(tokenizer),
    }
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work", type=Path, default=Path("build/bundled"), help="folder of tokenizer.json and checkpoint.pkl"
    )
    parser.add_argument("--to", type=Path, default=jaxchat.bundled.path(), help="folder to write")
    parser.add_argument("--with", dest="others", type=Path, nargs="+", default=[], help="checkpoints to average with")
    args = parser.parse_args()
    export(args.work, args.to, args.others)
    print(f"wrote {args.to}")


if __name__ == "__main__":
    main()
