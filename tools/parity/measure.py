"""How far the logits of our compiled programs are from those of `transformers`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from jaxchat.config import DTypeName, EngineConfig, MeshConfig
from jaxchat.models.families import read_config
from jaxchat.models.weights import load_hf
from jaxchat.runtime.building import choose_attention
from jaxchat.runtime.mesh import Placement
from jaxchat.runtime.runner import Runner
from jaxchat.runtime.state import Sizes
from jaxchat.sampling.logprobs import Logprobs
from jaxchat.sampling.sample import Sampled
from jaxchat.types import DecodeWork, PrefillWork, SamplingParams
from tools.parity.checkpoints import logits

PROMPTS = (5, 64, 150, 200)  # part of a chunk, one, several; and longer than any window
STEPS = 8


@dataclass(frozen=True)
class Difference:
    """The largest difference of a logit, relative to the largest logit."""

    prefill: float
    decode: float


@dataclass
class Heard:
    """A runner whose every row of logits is kept."""

    runner: Runner
    rows: list[np.ndarray] = field(default_factory=list)

    def last(self) -> np.ndarray:
        """The first row f32 `[V]` of the logits that were sampled from last."""
        jax.effects_barrier()
        return self.rows[-1][0]


def listening(directory: Path, *, dtype: DTypeName = "float32", tensor: int = 1, slots: int = 2) -> Heard:
    """The model's programs, compiled over `tensor` devices as for serving."""
    engine = EngineConfig(slots=slots, chunk=64, context=256, dtype=dtype, tensor_parallel=tensor)
    model = read_config(directory)
    sizes = Sizes.resolve(engine, model)
    model = model.within(sizes.context)
    placement = Placement.create(MeshConfig(tensor=tensor), model)
    path = choose_attention(engine, model, placement, jax.default_backend()).path
    params, _ = load_hf(directory, model, dtype=dtype, place=placement.place)
    rows: list[np.ndarray] = []

    def greedy(logits: jax.Array, *rest: Any, **more: Any) -> Sampled:
        jax.debug.callback(lambda found: rows.append(np.array(found)), logits)
        tokens = jnp.argmax(logits, axis=-1).astype(jnp.int32)
        return Sampled(tokens, jnp.isfinite(logits).all(-1), Logprobs.zeros(*logits.shape))

    runner = Runner(model, params, sizes, placement, dtype=dtype, sampler=greedy, path=path, ladder=(slots,))
    runner.warm_up()
    return Heard(runner, rows)


def difference(heard: Heard, model: torch.nn.Module) -> Difference:
    """Greedy answers to random prompts, every row of logits compared with what `model` gives for the same tokens."""
    rng = np.random.default_rng(1)
    prefill, decode = 0.0, 0.0
    for length in PROMPTS:
        tokens = rng.integers(3, heard.runner.sizes.vocab, length).tolist()
        found = list(_answer(heard, tokens))
        expected = logits(model, tokens)[length - 1 :]
        errors = np.abs(np.stack(found) - expected).max(-1) / np.abs(expected).max()
        prefill, decode = max(prefill, errors[0]), max(decode, errors[1:].max())
    return Difference(float(prefill), float(decode))


def _answer(heard: Heard, tokens: list[int]) -> Any:
    """The logits of the next token and of `STEPS` more, whose tokens are appended to `tokens`."""
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
