"""Trains the bundled model on generated conversations. Starts from random parameters, a checkpoint or a folder."""

from __future__ import annotations

import argparse
import math
import pickle
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from tokenizers import Tokenizer

from jaxchat.checkpoints.huggingface import load_hf
from jaxchat.kernels.attention.spec import AttentionSpec
from jaxchat.models.config import ModelConfig
from jaxchat.models.decoder import Decoder
from jaxchat.models.layers import Attend
from tools.bench.shapes import SHAPES
from tools.training import data
from tools.training.attention import attention
from tools.training.exchange import Exchange
from tools.training.mixed import mixed_precision
from tools.training.optimizer import optimizer
from tools.training.pack import Batch, Layout, Packer, parse_layout

Params = dict[str, Any]
SAVE_EVERY = 120  # seconds


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Settings of a training run.

    Attributes:
        minutes: duration of the run.
        layout: number of rows of each length in a batch, as pairs (rows, tokens).
        peak: the highest learning rate.
        seed: seed of parameters and samples.
        optimizer: "muon" or "adamw".
        warmup: steps over which the learning rate grows to `peak`.
        decay: last fraction of the time, in which the learning rate decreases to 0.
        longest: maximum number of samples in a long conversation.
        products: dtype of the inputs of matrix products, "bfloat16" or "float32".
    """

    minutes: float
    layout: Layout
    peak: float
    seed: int
    optimizer: str = "muon"
    warmup: int = 50
    decay: float = 0.6
    longest: int = 4
    products: str = "bfloat16"

    def rate(self, step: int, elapsed: float) -> float:
        """Returns the learning rate at a step, `elapsed` seconds after the start.

        The decay follows the clock, because the run ends after a fixed time whatever the speed.
        """
        left = max(0.0, 1.0 - elapsed / (60 * self.minutes))
        return self.peak * min(1.0, (step + 1) / self.warmup) * min(1.0, left / self.decay)


def config_of(tokenizer: Tokenizer) -> ModelConfig:
    """Returns the configuration of the bundled model with this tokenizer."""
    return replace(SHAPES["3M"], vocab_size=tokenizer.get_vocab_size())


def init(config: ModelConfig, seed: int) -> Params:
    """Returns random f32 parameters. The matrices that write to the residual stream start smaller."""
    tokens = jnp.zeros(2, jnp.int32)
    params = Decoder(config).init(jax.random.key(seed), tokens, tokens, attend=lambda layer, q, *rest: q)["params"]
    scale = 1 / math.sqrt(2 * config.num_layers)
    return jax.tree_util.tree_map_with_path(lambda path, x: x * scale if path[-1].key in ("out", "down") else x, params)


def packed_attention(layout: Layout, segments: Array) -> Attend:
    """Returns an `Attend` that computes plain causal attention inside each conversation of a flat batch of N tokens.

    Queries, keys and values are f32. It raises ValueError for a model that sets its own scale of scores, a window, a
    cap or sinks.

    Args:
        layout: number of rows of each length, as pairs (rows, tokens).
        segments: number of the conversation to which each token belongs, from 1, i32 `[N]`; 0 is padding.
    """

    def attend(layer: int, q: Array, k: Array, v: Array, spec: AttentionSpec) -> Array:
        _check_plain(spec)
        (_, heads, width), groups = q.shape, k.shape[1]
        parts, start = [], 0
        for rows, length in layout:
            stop = start + rows * length
            cut = tuple(
                x[start:stop].reshape(rows, length, *x.shape[1:])
                for x in (q.reshape(-1, groups, heads // groups, width), k, v, segments)
            )
            parts.append(attention(*cut).reshape(rows * length, heads, width))
            start = stop
        return jnp.concatenate(parts)

    return attend


def _check_plain(spec: AttentionSpec) -> None:
    """Raises ValueError, which names the fields, if attention is not causal attention with the default scale."""
    fields = (
        ("scale", spec.scale is not None),
        ("window", spec.window),
        ("cap", spec.cap),
        ("sinks", spec.sinks is not None),
    )
    if names := ", ".join(name for name, is_set in fields if is_set):
        raise ValueError(
            f"training computes plain causal attention, but the model sets these of its attention: {names}"
        )


def loss(
    params: Params, decoder: Decoder, layout: Layout, batch: tuple[Array, ...], products: str = "bfloat16"
) -> Array:
    """Returns the mean cross entropy of a batch's targets, in nats, f32 scalar.

    Args:
        params: parameters of the decoder.
        decoder: the model.
        layout: number of rows of each length, as pairs (rows, tokens).
        batch: the fields of `Batch`, in order.
        products: dtype of the inputs of matrix products.
    """
    tokens, positions, segments, where, labels, weights = batch
    with mixed_precision(products):
        hidden = decoder.apply({"params": params}, tokens, positions, attend=packed_attention(layout, segments))
        logits = decoder.apply({"params": params}, hidden[where], method=Decoder.logits)
    each = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return (each * weights).sum() / weights.sum()


def make_step(
    decoder: Decoder, layout: Layout, update: optax.GradientTransformation, products: str = "bfloat16"
) -> Callable[..., Any]:
    """Returns a compiled training step: (params, state, batch, learning rate) -> (params, state, loss).

    Args:
        decoder: the model.
        layout: number of rows of each length in a batch, as pairs (rows, tokens).
        update: the optimizer. The step multiplies the optimizer's updates by the learning rate.
        products: dtype of the inputs of matrix products.
    """

    def step(params: Params, state: Any, batch: tuple[Array, ...], rate: Array) -> tuple[Params, Any, Array]:
        value, gradient = jax.value_and_grad(loss)(params, decoder, layout, batch, products)
        change, state = update.update(gradient, state, params)
        return optax.apply_updates(params, jax.tree.map(lambda x: x * rate, change)), state, value

    return jax.jit(step, donate_argnums=(0, 1))


def save(path: Path, **content: Any) -> None:
    """Writes a checkpoint atomically, so that a reader never sees a part of it.

    Args:
        path: the file.
        content: pytrees of arrays by name, which are copied from the device.
    """
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(pickle.dumps(jax.device_get(content)))
    temporary.replace(path)


def parameters(start: Path | None, config: ModelConfig, seed: int) -> Params:
    """Returns the parameters that training starts from.

    Args:
        start: a checkpoint, or an exported model folder with the same tokenizer. None means random parameters.
        config: the model.
        seed: seed of random parameters.
    """
    if start is None:
        return init(config, seed)
    if start.is_dir():
        return load_hf(start, config)[0]
    return pickle.loads(start.read_bytes())["params"]


def run(
    config: TrainingConfig,
    work: Path,
    start: Path | None,
    weights: dict[str, float],
    exchange: Exchange | None = None,
) -> None:
    """Trains for `config.minutes` minutes and writes checkpoints to `work`.

    Args:
        config: settings of the run.
        work: folder with `tokenizer.json`.
        start: a checkpoint or an exported model folder to start from. None means random parameters.
        weights: relative frequency by skill. Replaces entries of `data.WEIGHTS`.
        exchange: averages the parameters with those of another run.
    """
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    decoder = Decoder(config_of(tokenizer))
    update, target = optimizer(config.optimizer), work / "checkpoint.pkl"
    params = parameters(start, decoder.config, config.seed)
    state, step = update.init(params), make_step(decoder, config.layout, update, config.products)
    packer = Packer(data.stream(config.seed, weights, config.longest), tokenizer, config.layout)
    begun = saved = time.monotonic()
    count, mean = 0, 0.0
    while (elapsed := time.monotonic() - begun) < 60 * config.minutes:
        batch: Batch = packer.batch()
        params, state, value = step(params, state, astuple(batch), jnp.float32(config.rate(count, elapsed)))
        mean = 0.95 * mean + 0.05 * float(value) if count else float(value)
        count += 1
        if count % 50 == 0:
            speed = count * batch.tokens.size / elapsed if elapsed else 0
            print(f"step {count} loss {mean:.4f} minutes {elapsed / 60:.1f} tokens/s {speed:.0f}", flush=True)
        if exchange and exchange.due(elapsed):
            params = exchange.mean(params)
        if time.monotonic() - saved > SAVE_EVERY:
            save(target, params=params, steps=count)
            saved = time.monotonic()
    save(target, params=params, steps=count)
    print(f"done after {count} steps, loss {mean:.4f}")


def parse_weights(text: str) -> dict[str, float]:
    """Parses a text such as `arithmetic=8,tool call=6` to weights by skill."""
    return {name: float(value) for name, value in (part.split("=") for part in text.split(",") if part)}


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work", type=Path, default=Path("build/bundled"), help="folder of tokenizer.json and checkpoint.pkl"
    )
    parser.add_argument("--minutes", type=float, default=50)
    parser.add_argument("--layout", type=parse_layout, default="6x128,2x384,1x640", help="rows x tokens of a batch")
    parser.add_argument("--rate", type=float, default=3.5e-3, help="highest learning rate")
    parser.add_argument("--optimizer", choices=("muon", "adamw"), default="muon")
    parser.add_argument(
        "--decay", type=float, default=0.6, help="last fraction of the time, in which the rate decreases to 0"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="checkpoint or exported model folder to start from")
    parser.add_argument(
        "--weights", type=parse_weights, default={}, help="relative frequency by skill, such as arithmetic=8,capitals=4"
    )
    parser.add_argument("--longest", type=int, default=14, help="maximum number of samples in a long conversation")
    parser.add_argument(
        "--products",
        choices=("bfloat16", "float32"),
        default="bfloat16",
        help="inputs of matrix products; float32 is faster on CPUs without units for bfloat16",
    )
    parser.add_argument("--other", type=Path, help="work folder of another run, to average parameters with each minute")
    args = parser.parse_args()
    config = TrainingConfig(
        minutes=args.minutes,
        layout=args.layout,
        peak=args.rate,
        seed=args.seed,
        optimizer=args.optimizer,
        decay=args.decay,
        longest=args.longest,
        products=args.products,
    )
    exchange = Exchange(args.work, args.other, every=60) if args.other else None
    run(config, args.work, args.start, args.weights, exchange)


if __name__ == "__main__":
    main()
