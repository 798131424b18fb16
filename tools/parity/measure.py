"""How far the logits of our compiled programs are from those of `transformers`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from jaxchat.cache import cache_folder
from jaxchat.checkpoints.stored_config import read_stored_config
from jaxchat.config import DTypeName, EngineConfig
from jaxchat.parallel.mesh import Placement
from jaxchat.parallel.padding import padded_config
from jaxchat.runtime.matmul_backend import select_attention
from jaxchat.runtime.parameters import load_parameters
from jaxchat.runtime.runner import Runner
from jaxchat.runtime.state import EngineShapes
from jaxchat.sampling.logprobs import Logprobs
from jaxchat.sampling.sample import Sampled
from jaxchat.types import DecodeWork, PrefillWork, SamplingParams
from tools.parity.checkpoints import logits

MAX_SEQ_LEN = 256
PROMPTS = (5, 64, 150, 200)  # part of a chunk, one, several; and longer than any window
STEPS = 8


@dataclass(frozen=True)
class Difference:
    """The largest difference of a logit, relative to the largest logit, and the SHA-256 (hex) of all of ours."""

    prefill: float
    decode: float
    digest: str


@dataclass
class Heard:
    """A runner that stores every row of logits."""

    runner: Runner
    vocab: int  # of the model; on several devices the runner's is filled up
    rows: list[np.ndarray] = field(default_factory=list)

    def last(self) -> np.ndarray:
        """Returns the first row f32 `[V]` of the logits that were last sampled from."""
        jax.effects_barrier()
        return self.rows[-1][0]


def listening(
    directory: Path, *, dtype: DTypeName = "float32", tensor: int = 1, slots: int = 2, experts: bool = False
) -> Heard:
    """Returns the model's programs over `tensor` devices, as for serving; with `experts`, each device has whole
    experts.

    Raises:
        ValueError: the model does not divide by the devices.
    """
    engine = EngineConfig(
        slots=slots,
        prefill_chunk=64,
        max_seq_len=MAX_SEQ_LEN,
        dtype=dtype,
        tensor_parallel=tensor,
        expert_parallel=experts,
        prefill_buckets=(64,),
    )
    model = read_stored_config(directory).for_max_seq_len(MAX_SEQ_LEN)
    served = padded_config(model, tensor)
    sizes = EngineShapes.resolve(engine, served)
    placement = Placement.create(engine.mesh, served)
    attention = select_attention(engine, served, placement, cache_folder(engine.cache_dir)).backend
    params, *_ = load_parameters(directory, model, served, engine, placement)
    rows: list[np.ndarray] = []

    def greedy(logits: jax.Array, *rest: Any, **more: Any) -> Sampled:
        jax.debug.callback(lambda actual: rows.append(np.array(actual)[:, : model.vocab_size]), logits)
        real = jnp.arange(logits.shape[-1]) < model.vocab_size
        tokens = jnp.argmax(jnp.where(real, logits, -jnp.inf), axis=-1).astype(jnp.int32)
        return Sampled(tokens, jnp.isfinite(logits).all(-1), Logprobs.zeros(*logits.shape))

    runner = Runner(
        served, params, sizes, placement, dtype=dtype, sampler=greedy, attention=attention, decode_sizes=(slots,)
    )
    runner.warm_up()
    return Heard(runner, model.vocab_size, rows)


def difference(heard: Heard, model: torch.nn.Module) -> Difference:
    """Compares every row of logits of greedy answers to random prompts with the logits of `model` for the same
    tokens.
    """
    rng, digest = np.random.default_rng(1), hashlib.sha256()
    prefill, decode = 0.0, 0.0
    for length in PROMPTS:
        tokens = rng.integers(3, heard.vocab, length).tolist()
        actual = np.stack(list(_answer(heard, tokens)))
        digest.update(actual.tobytes())
        expected = logits(model, tokens)[length - 1 :]
        errors = np.abs(actual - expected).max(-1) / np.abs(expected).max()
        prefill, decode = max(prefill, errors[0]), max(decode, errors[1:].max())
    return Difference(float(prefill), float(decode), digest.hexdigest())


def _answer(heard: Heard, tokens: list[int]) -> Any:
    """Returns the logits of the next token and of `STEPS` more, and appends their tokens to `tokens`."""
    runner, prompt = heard.runner, np.array(tokens, np.int32)
    chunk, page = runner.sizes.chunk, runner.sizes.page_size
    pages = np.arange(1, (len(prompt) + STEPS) // page + 2, dtype=np.int32)
    slot, greedy = 1, SamplingParams(temperature=0.0)
    for start in range(0, len(prompt), chunk):
        part = prompt[start : start + chunk]
        last = start + len(part) == len(prompt)
        step = runner.prefill(PrefillWork(slot, part, start, last, pages, 0, greedy)).wait()
    yield heard.last()
    for _ in range(STEPS):
        tokens.append(int(step.tokens[0]))
        step = runner.decode(DecodeWork(np.array([slot], np.int32), np.array([-1], np.int32))).wait()
        yield heard.last()
