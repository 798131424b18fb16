"""Random unusual values."""

from __future__ import annotations

import math
import random
from typing import Any

NUMBERS: list[Any] = [
    0,
    -0.0,
    1,
    -1,
    1.5,
    21,
    129,
    2**31,
    2**63,
    -(2**63) - 1,
    10**40,
    1e308,
    1e-320,
    math.nan,
    math.inf,
]
TEXTS = [
    "",
    " ",
    "\x00",
    "é€😀",
    "\ud800",
    "<|im_end|>",
    "<tool_call>",
    "\ufffd",
    "NaN",
    "none",
    "x" * 3000,
    "\r\n: data",
]
WORDS = [
    "auto",
    "required",
    "user",
    "tool",
    "assistant",
    "text",
    "json_object",
    "function",
    "role",
    "c1",
    "f",
    "0",
    "5",
]
KEYS = ["role", "content", "type", "text", "name", "id", "function", "arguments", "tool_calls", "tool_call_id", "mood"]


def value(rng: random.Random, depth: int = 3) -> Any:
    """Returns a random JSON value, possibly with lone surrogates or numbers without a JSON form.

    Args:
        rng: source of the random choices.
        depth: maximum number of nested arrays and objects. A few values are nested deeper on purpose.
    """
    kind = rng.randrange(8 if depth else 5)
    if kind == 0:
        return rng.choice([None, True, False])
    if kind == 1:
        return rng.choice(NUMBERS)
    if kind == 2:
        return rng.choice(TEXTS)
    if kind in (3, 4):
        return rng.choice(WORDS)
    if kind == 5:
        return [value(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind == 6:
        return deep(rng.choice([5, 70, 2000])) if rng.random() < 0.1 else {}
    return {rng.choice(KEYS + TEXTS[:4]): value(rng, depth - 1) for _ in range(rng.randrange(4))}


def deep(levels: int) -> list[Any]:
    """Returns `levels` nested arrays, but at most 500, so that the standard encoder can write them."""
    result: list[Any] = []
    for _ in range(min(levels, 500)):
        result = [result]
    return result


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Returns the data with some bytes changed, removed, duplicated or inserted."""
    result = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        index = rng.randrange(len(result) + 1)
        rng.choice((_change, _remove, _duplicate, _insert))(rng, result, index)
    return bytes(result)


def _change(rng: random.Random, data: bytearray, index: int) -> None:
    data[index : index + 1] = bytes([rng.randrange(256)])


def _remove(rng: random.Random, data: bytearray, index: int) -> None:
    del data[index : index + rng.randint(1, 20)]


def _duplicate(rng: random.Random, data: bytearray, index: int) -> None:
    data[index:index] = data[index : index + rng.randint(1, 20)]


def _insert(rng: random.Random, data: bytearray, index: int) -> None:
    data[index:index] = rng.randbytes(rng.randint(1, 5))
