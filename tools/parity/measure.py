"""Measures how far the logits of our compiled programs are from those of `transformers`."""

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
from jaxchat.types import DecodeWork, PrefillSlice, PrefillWork, SamplingParams
from tools.parity.checkpoints import logits

MAX_SEQ_LEN = 256
PROMPTS = (5, 64, 150, 200)  # part of a chunk, one, several; and longer than any window
STEPS = 8


@dataclass(frozen=True)
class Difference:
    """The differences of our logits from those of `transformers`.

    Attributes:
        prefill: largest absolute difference after a prompt. It is divided by the largest absolute logit that
            `transformers` computes after the prompt or any decode step.
        decode: largest absolute difference after a decode step, divided by the same logit.
        digest: SHA-256 of all our logits, in hexadecimal.
    """

    prefill: float
    decode: float
    digest: str


@dataclass
class RecordingRunner:
    """A runner with the logits of all its steps.

    Attributes:
        runner: the runner, which samples greedily.
        vocab: V of the model. The runner's own vocabulary may be padded.
        rows: the logits of each step so far, f32 `[R, V]`.
    """

    runner: Runner
    vocab: int
    rows: list[np.ndarray] = field(default_factory=list)

    def last(self) -> np.ndarray:
        """Returns the first row of the latest step's logits, f32 `[V]`."""
        jax.effects_barrier()
        return self.rows[-1][0]


def recording_runner(
    directory: Path, *, dtype: DTypeName = "float32", tensor: int = 1, slots: int = 2, experts: bool = False
) -> RecordingRunner:
    """Loads a model as for serving.

    Args:
        directory: the model directory.
        dtype: dtype of weights and activations.
        tensor: number of devices over which the model is split.
        slots: number of slots.
        experts: whether each device has whole experts, in place of a part of every expert.

    Raises:
        ModelError: the directory cannot be served.
        ValueError: the model cannot be split over the devices.
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
    return RecordingRunner(runner, model.vocab_size, rows)


def difference(recording: RecordingRunner, model: torch.nn.Module) -> Difference:
    """Returns the differences between our logits and those of `model`, in greedy answers to random prompts."""
    rng, digest = np.random.default_rng(1), hashlib.sha256()
    prefill, decode = 0.0, 0.0
    for length in PROMPTS:
        tokens = rng.integers(3, recording.vocab, length).tolist()
        actual = np.stack(list(_answer(recording, tokens)))
        digest.update(actual.tobytes())
        expected = logits(model, tokens)[length - 1 :]
        errors = np.abs(actual - expected).max(-1) / np.abs(expected).max()
        prefill, decode = max(prefill, errors[0]), max(decode, errors[1:].max())
    return Difference(float(prefill), float(decode), digest.hexdigest())


def _answer(recording: RecordingRunner, tokens: list[int]) -> Any:
    """Yields the logits after the prompt `tokens`, and after each of `STEPS` tokens, which it appends to `tokens`."""
    runner, prompt = recording.runner, np.array(tokens, np.int32)
    chunk, page = runner.sizes.chunk, runner.sizes.page_size
    pages = np.arange(1, (len(prompt) + STEPS) // page + 2, dtype=np.int32)
    slot, greedy = 1, SamplingParams(temperature=0.0)
    for start in range(0, len(prompt), chunk):
        part = prompt[start : start + chunk]
        last = start + len(part) == len(prompt)
        step = runner.prefill(PrefillWork((PrefillSlice(slot, part, start, last, pages, 0, greedy),))).wait()
    yield recording.last()
    for _ in range(STEPS):
        tokens.append(int(step.tokens[0]))
        step = runner.decode(DecodeWork(np.array([slot], np.int32), np.array([-1], np.int32))).wait()
        yield recording.last()
