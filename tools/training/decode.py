"""Batched decoding with a plain KV cache, for evaluation without the engine.

Letters: B prompts of T tokens, K KV heads, d head dimension, V tokens in the vocabulary.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from tokenizers import Tokenizer

from jaxchat.arithmetic import cdiv
from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.kernels.attention.reference import causal
from jaxchat.kernels.attention.spec import AttentionSpec
from jaxchat.models.config import ModelConfig
from jaxchat.models.decoder import Decoder
from jaxchat.models.families import read_config

Cache = tuple[tuple[Array, Array], ...]
"""The keys and values of each layer, `[B, T, K, d]`."""


class Sampler:
    """A decoder of the bundled model's architecture.

    Args:
        directory: folder with the model and its tokenizer.
        temperature: 0 takes the likeliest tokens.
        longest_answer: maximum number of tokens of an answer.
    """

    def __init__(self, directory: Path, temperature: float = 0.0, longest_answer: int = 300) -> None:
        self.config = read_config(directory)
        self.params, _ = load_hf(directory, self.config)
        self.tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self.end = self.tokenizer.token_to_id("<|im_end|>")
        self.temperature, self.longest_answer = temperature, longest_answer
        self._key = jax.random.key(0)

    def complete(self, prompts: list[str]) -> list[str]:
        """Returns the answer to each prompt, up to the end of the turn.

        Answers include markers such as `<tool_call>`.
        """
        ids = [self.tokenizer.encode(prompt, add_special_tokens=False).ids for prompt in prompts]
        lengths = np.array([len(i) for i in ids], np.int32)
        width = cdiv(int(lengths.max()), 64) * 64
        tokens = np.zeros((len(ids), width), np.int32)
        for row, prompt_ids in enumerate(ids):
            tokens[row, : len(prompt_ids)] = prompt_ids
        cache, logits = _prefill(self.config, self.params, tokens, lengths, width + self.longest_answer)
        written, done = [], np.zeros(len(ids), bool)
        for step in range(self.longest_answer):
            self._key, key = jax.random.split(self._key)
            token = _pick(logits, jnp.float32(self.temperature), key)
            written.append(np.asarray(token))
            done |= written[-1] == self.end
            if done.all():
                break
            cache, logits = _step(self.config, self.params, cache, token, lengths + step)
        return [self._text(row) for row in np.stack(written, axis=1).tolist()]

    def _text(self, row: list[int]) -> str:
        return self.tokenizer.decode(row[: row.index(self.end)] if self.end in row else row, skip_special_tokens=False)


@partial(jax.jit, static_argnums=(0, 4))
def _prefill(config: ModelConfig, params: Any, tokens: Array, lengths: Array, room: int) -> tuple[Cache, Array]:
    """Prefills prompts. Returns a cache for `room` tokens, and the logits of each answer's first token, f32 `[B, V]`.

    Args:
        config: the model.
        params: its parameters.
        tokens: padded prompts, i32 `[B, T]`.
        lengths: tokens of each prompt, i32 `[B]`.
        room: number of tokens that the cache can hold for each prompt.
    """
    decoder, positions = Decoder(config), jnp.arange(tokens.shape[1])

    def one(row: Array) -> tuple[Array, Cache]:
        caches = []

        def attend(layer: int, q: Array, k: Array, v: Array, form: AttentionSpec) -> Array:
            caches.append((k, v))
            return causal(layer, q, k, v, form)

        return decoder.apply({"params": params}, row, positions, attend=attend), tuple(caches)

    hidden, cache = jax.vmap(one)(tokens)
    extra = ((0, 0), (0, room - tokens.shape[1]), (0, 0), (0, 0))
    last = hidden[jnp.arange(len(tokens)), lengths - 1]
    return jax.tree.map(lambda x: jnp.pad(x, extra), cache), _logits(decoder, params, last)


@partial(jax.jit, static_argnums=0, donate_argnums=2)
def _step(config: ModelConfig, params: Any, cache: Cache, token: Array, position: Array) -> tuple[Cache, Array]:
    """Adds `token` i32 `[B]` at `position` i32 `[B]` to the cache. Returns cache and next logits, f32 `[B, V]`."""
    decoder, rows, updated = Decoder(config), jnp.arange(len(token)), []

    def attend(layer: int, q: Array, k: Array, v: Array, form: AttentionSpec) -> Array:
        keys, values = (x.at[rows, position].set(new) for x, new in zip(cache[layer], (k, v), strict=True))
        updated.append((keys, values))
        (batch, heads, width), groups = q.shape, k.shape[1]
        query = q.reshape(batch, groups, heads // groups, width)
        scores = jnp.einsum("bkgd,btkd->bkgt", query, keys) * width**-0.5
        seen = jnp.arange(keys.shape[1]) <= position[:, None]
        weights = jax.nn.softmax(jnp.where(seen[:, None, None], scores, -1e30))
        return jnp.einsum("bkgt,btkd->bkgd", weights, values).reshape(q.shape)

    hidden = decoder.apply({"params": params}, token, position, attend=attend)
    return tuple(updated), _logits(decoder, params, hidden)


def _logits(decoder: Decoder, params: Any, hidden: Array) -> Array:
    return decoder.apply({"params": params}, hidden, method=Decoder.logits).astype(jnp.float32)


@jax.jit
def _pick(logits: Array, temperature: Array, key: Array) -> Array:
    """Returns a token for each row of `logits[B, V]`, i32 `[B]`."""
    drawn = jax.random.categorical(key, logits / jnp.maximum(temperature, 1e-6))
    return jnp.where(temperature > 0, drawn, logits.argmax(-1)).astype(jnp.int32)
