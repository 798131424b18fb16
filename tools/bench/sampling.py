"""Measures the cost of each sampling feature: `python -m tools.bench.sampling`.

Times one call of the sampler at several batch and vocabulary sizes. For comparison, also times the matrix product that
computes the logits (f32, width 896), and samplers of torch and NumPy that sort all logits. Alternates all of these, so
that a noisy machine disturbs them equally. Prints medians in milliseconds.

Letters: S rows, V tokens in the vocabulary.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxchat.sampling.sample import sample
from jaxchat.sampling.state import SamplingState

WIDTH = 896  # of the 0.5B-parameter model whose logits have these sizes
Work = Callable[[], Any]


def states(rows: int, vocab: int) -> dict[str, SamplingState]:
    """Returns a sampling state of `rows` slots for each feature, and for some combinations, by name."""
    greedy, ones = SamplingState.zeros(rows, vocab), jnp.ones(rows)
    drawn = replace(greedy, temperature=ones * 0.8, top_p=ones)
    nucleus = replace(drawn, top_p=ones * 0.9)
    penalties = {"frequency_penalty": ones * 0.5, "presence_penalty": ones * 0.5}
    biased = greedy.bias_ids.at[:, :50].set(jnp.arange(50))
    return {
        "greedy": greedy,
        "greedy, penalties": replace(greedy, **penalties),
        "greedy, bias of 50": replace(greedy, bias_ids=biased, bias=greedy.bias.at[:, :50].set(2.0)),
        "greedy, logprobs": replace(greedy, logprobs=jnp.ones(rows, bool)),
        "temperature": drawn,
        "nucleus 0.9": nucleus,
        "nucleus 0.9 of flat logits": replace(nucleus, temperature=ones * 100),
        "nucleus, penalties, logprobs": replace(nucleus, **penalties, logprobs=jnp.ones(rows, bool)),
    }


def logits(rows: int, vocab: int) -> np.ndarray:
    """Returns logits like a language model's, f32 `[rows, vocab]`: a normal distribution, and 60 likely tokens."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 2.5, (rows, vocab)).astype(np.float32)
    x[:, :60] += np.linspace(20, 8, 60, dtype=np.float32)
    return x


def ours(x: np.ndarray) -> dict[str, Work]:
    """Returns functions to time, by name: a call of jaxchat's sampler for each state, and one matrix product.

    Args:
        x: logits, f32 `[S, V]`.
    """
    rows, vocab = x.shape
    on, inputs = jnp.ones(rows, bool), jnp.array(x)
    run = jax.jit(sample, static_argnums=3)
    hidden, head = jnp.ones((rows, WIDTH)), jnp.ones((WIDTH, vocab))
    product = jax.jit(jnp.dot)
    work: dict[str, Work] = {"(logits: f32 product)": lambda: jax.block_until_ready(product(hidden, head))}
    for name, state in states(rows, vocab).items():
        work[name] = lambda state=state: jax.block_until_ready(run(inputs, state, on, vocab))  # type: ignore[misc]
    return work


def numpy_nucleus(x: np.ndarray, rng: np.random.Generator) -> Any:
    """Samples from the nucleus of each row by a full sort, and returns token ids, i64 `[S, 1]`.

    The temperature is 0.8 and `top_p` is 0.9.

    Args:
        x: logits, f32 `[S, V]`.
        rng: source of the random numbers.
    """
    z = x / 0.8
    p = np.exp(z - z.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    order = np.argsort(-p, axis=-1)
    ranked = np.take_along_axis(p, order, -1)
    ranked[np.cumsum(ranked, -1) - ranked > 0.9] = 0
    picked = (np.cumsum(ranked, -1) > rng.random((len(x), 1)) * ranked.sum(-1, keepdims=True)).argmax(-1)
    return np.take_along_axis(order, picked[:, None], -1)


def peers(x: np.ndarray) -> dict[str, Work]:
    """Returns calls of other samplers on the logits `x`, f32 `[S, V]`, by name.

    The samplers are of NumPy and, if it is installed, of torch. Each sampler sorts the logits of each row, except
    "torch: temperature".
    """
    rng = np.random.default_rng(0)
    work: dict[str, Work] = {"NumPy: nucleus by sort": lambda: numpy_nucleus(x, rng)}
    try:
        import torch
    except ImportError:
        return work
    inputs = torch.from_numpy(x)

    def nucleus() -> Any:
        p, order = torch.softmax(inputs / 0.8, -1).sort(-1, descending=True)
        p[p.cumsum(-1) - p > 0.9] = 0
        return order.gather(-1, torch.multinomial(p, 1))

    work["torch: temperature"] = lambda: torch.multinomial(torch.softmax(inputs / 0.8, -1), 1)
    work["torch: nucleus by sort"] = nucleus
    return work


def measure(work: dict[str, Work], repetitions: int) -> dict[str, float]:
    """Returns the median milliseconds of each call, by name. The calls alternate.

    Args:
        work: the calls by name.
        repetitions: number of measurements of each call.
    """
    times: dict[str, list[float]] = {name: [] for name in work}
    for repetition in range(-1, repetitions):  # the first round compiles
        for name, call in work.items():
            began = time.perf_counter()
            call()
            if repetition >= 0:
                times[name].append(1000 * (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="tools.bench.sampling", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 32, 128])
    parser.add_argument("--vocab", type=int, nargs="+", default=[32_000, 151_936, 256_000])
    parser.add_argument("--repetitions", type=int, default=9)
    args = parser.parse_args()
    columns: dict[str, dict[str, float]] = {}
    for rows in args.rows:
        for vocab in args.vocab:
            x = logits(rows, vocab)
            columns[f"[{rows}, {vocab // 1000}k]"] = measure(ours(x) | peers(x), args.repetitions)
    print(f"| ms | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name in next(iter(columns.values())):
        print(f"| {name} | {' | '.join(f'{column[name]:.2f}' for column in columns.values())} |")


if __name__ == "__main__":
    main()
