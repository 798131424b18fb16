"""Packing and the training step, on a tiny shape."""

from __future__ import annotations

from dataclasses import astuple

import jax.numpy as jnp
import numpy as np
import pytest
from tokenizers import Tokenizer

from jaxchat.kernels.attention.spec import AttentionSpec
from jaxchat.models.config import ModelConfig
from jaxchat.models.decoder import Decoder
from tools.training import data
from tools.training.mixed import mixed_precision
from tools.training.optimizer import optimizer
from tools.training.pack import Packer, encode, parse_layout
from tools.training.sample import Sample, assistant, user
from tools.training.tokenizer import corpus, train
from tools.training.train import init, make_step, packed_attention

LAYOUT = parse_layout("2x96,1x192")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train(corpus(300, seed=1), vocabulary=600)


def test_only_assistant_turns_are_learned(tokenizer: Tokenizer) -> None:
    sample = Sample(skill="", key="", messages=(user("Hi"), assistant("Yes."), user("So?"), assistant("No.")))
    ids, learned = encode(tokenizer, sample)
    assert tokenizer.decode(ids[learned].tolist(), skip_special_tokens=False) == "Yes.<|im_end|>No.<|im_end|>"


def test_what_a_response_format_dictates_is_not_learned(tokenizer: Tokenizer) -> None:
    answer = '{"name": "Bob", "age": 34}'
    sample = Sample(skill="", key="", messages=(user("Bob, 34"), assistant(answer)), given=("{", '"name":', '"age":'))
    ids, learned = encode(tokenizer, sample)
    text = tokenizer.decode(ids[learned].tolist(), skip_special_tokens=False)
    assert "name" not in text and "age" not in text and "Bob" in text and "34" in text
    assert text.endswith("}<|im_end|>")


def test_batches_are_nearly_full(tokenizer: Tokenizer) -> None:
    packer = Packer(data.stream(1), tokenizer, parse_layout("6x128,2x384,1x640"))
    assert min((packer.batch().segments > 0).mean() for _ in range(5)) > 0.9


def test_targets_follow_their_inputs(tokenizer: Tokenizer) -> None:
    batch = Packer(data.stream(1), tokenizer, LAYOUT).batch()
    real = batch.weights > 0
    assert np.array_equal(batch.tokens[batch.where[real] + 1], batch.labels[real])
    assert np.array_equal(batch.segments[batch.where[real] + 1], batch.segments[batch.where[real]])


def test_packed_conversations_do_not_see_each_other() -> None:
    config = ModelConfig(
        vocab_size=50,
        num_layers=2,
        num_heads=2,
        num_kv_heads=1,
        embed_dim=16,
        mlp_dim=32,
        head_dim=8,
        max_seq_len=64,
        tie_embeddings=True,
    )
    params, rng = init(config, 0), np.random.default_rng(0)
    tokens, layout = rng.integers(0, 50, 16).astype(np.int32), ((1, 16),)
    segments, positions = np.repeat([1, 2], 8), np.tile(np.arange(8), 2)

    def hidden(tokens: np.ndarray) -> np.ndarray:
        attend = packed_attention(layout, jnp.asarray(segments))
        return np.asarray(Decoder(config).apply({"params": params}, tokens, positions, attend=attend))

    other = np.concatenate([rng.integers(0, 50, 8).astype(np.int32), tokens[8:]])
    assert np.array_equal(hidden(tokens)[8:], hidden(other)[8:])


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (AttentionSpec(scale=1.0), "scale"),
        (AttentionSpec(window=4), "window"),
        (AttentionSpec(cap=50.0), "cap"),
        (AttentionSpec(sinks=jnp.zeros(2)), "sinks"),
    ],
)
def test_other_attention_is_refused_by_name(spec: AttentionSpec, name: str) -> None:
    attend = packed_attention(((1, 4),), jnp.ones(4, jnp.int32))
    q, keys = jnp.zeros((4, 2, 8)), jnp.zeros((4, 1, 8))
    assert attend(0, q, keys, keys, AttentionSpec()).shape == q.shape
    with pytest.raises(ValueError, match=f"attention: {name}$"):
        attend(0, q, keys, keys, spec)


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_a_few_steps_lower_the_loss(tokenizer: Tokenizer, name: str) -> None:
    config = ModelConfig(
        vocab_size=600,
        num_layers=1,
        num_heads=2,
        num_kv_heads=1,
        embed_dim=32,
        mlp_dim=64,
        head_dim=16,
        max_seq_len=256,
        tie_embeddings=True,
    )
    params, update = init(config, 0), optimizer(name)
    state, step = update.init(params), make_step(Decoder(config), LAYOUT, update)
    batch = astuple(Packer(data.stream(1), tokenizer, LAYOUT).batch())
    losses = []
    for _ in range(4):
        params, state, value = step(params, state, batch, jnp.float32(0.01))
        losses.append(float(value))
    assert losses[-1] < losses[0]


def test_mixed_precision_leaves_the_decoder_as_it_was() -> None:
    from jaxchat.models import decoder, layers

    before = layers.matmul
    with mixed_precision():
        assert layers.matmul is not before
    assert layers.matmul is before and decoder.matmul is before
