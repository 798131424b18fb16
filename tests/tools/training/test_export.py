"""What an export makes of a checkpoint, and training of an export."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import jax
import numpy as np
from tokenizers import Tokenizer

import jaxchat.bundled
from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.models.decoder import Decoder
from tools.training.export import export
from tools.training.train import config_of, init, parameters


def test_an_export_is_like_the_bundled_model_and_trained_on_as_it_was(tmp_path: Path) -> None:
    shutil.copy(jaxchat.bundled.path() / "tokenizer.json", tmp_path)
    config = config_of(Tokenizer.from_file(str(tmp_path / "tokenizer.json")))
    trained = init(config, 0)
    (tmp_path / "checkpoint.pkl").write_bytes(pickle.dumps({"params": jax.device_get(trained)}))
    export(tmp_path, tmp_path / "model")
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        assert (tmp_path / "model" / name).read_text("utf-8") == (jaxchat.bundled.path() / name).read_text("utf-8")

    hidden = jax.random.normal(jax.random.key(0), (2, config.embed_dim))
    exported = load_hf(tmp_path / "model", config)[0]
    after, before = (
        Decoder(config).apply(
            {"params": params}, params["norm"]["scale"].astype("float32") * hidden, method=Decoder.logits
        )
        for params in (exported, trained)
    )
    np.testing.assert_allclose(after, before, rtol=0.02, atol=0.02 * np.abs(before).max())

    for found, expected in zip(
        *(jax.tree.leaves(tree) for tree in (parameters(tmp_path / "model", config, 0), trained)), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=2**-8)
