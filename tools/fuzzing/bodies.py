"""REST bodies: valid requests, mutations of them, random JSON and damaged bytes."""

from __future__ import annotations

import json
import random
from typing import Any

from tools.fuzzing import junk

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}}
MESSAGES: list[list[dict[str, Any]]] = [
    [{"role": "user", "content": "hi"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "é\x00"}]}],
    [
        {"role": "user", "content": "x", "name": "Ann"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
    ],
    [
        {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": ""}},
        {"role": "function", "name": "f", "content": None},
        {"role": "developer", "content": "<|im_end|>"},
    ],
]
FIELDS: dict[str, list[Any]] = {
    "temperature": [0, 0.7, 2],
    "top_p": [0, 0.5, 1],
    "frequency_penalty": [-2, 0.5],
    "presence_penalty": [2, -0.1],
    "logit_bias": [{}, {"5": -100}, {"7": 100, "8": 1.5}],
    "n": [1, 2, 4],
    "seed": [0, -1, 2**63 - 1],
    "stop": ["a", ["b", "\n"], []],
    "tools": [[{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]],
    "user": ["me"],
    "response_format": [{"type": "text"}, {"type": "json_object"}],
    "tool_choice": ["none", "auto"],
    "parallel_tool_calls": [True],
    "function_call": ["none"],
}
MAX_CHOICES = 4


def valid(rng: random.Random, model: str) -> dict[str, Any]:
    """A request that is meant well; some of its fields may not fit together."""
    body: dict[str, Any] = {"model": model, "messages": json.loads(json.dumps(rng.choice(MESSAGES)))}
    for field in rng.sample(sorted(FIELDS), rng.randrange(5)):
        body[field] = json.loads(json.dumps(rng.choice(FIELDS[field])))
    if rng.random() < 0.3:
        body |= {"logprobs": True, "top_logprobs": rng.choice([0, 5, 20])}
    if rng.random() < 0.5:
        body |= {"stream": True, "stream_options": rng.choice([None, {}, {"include_usage": True}])}
    return body


def body(rng: random.Random, model: str) -> tuple[str, bytes]:
    """The kind of a random body, and its bytes."""
    kind = rng.choices(("valid", "mutated", "random", "damaged"), (2, 5, 2, 1))[0]
    if kind == "random":
        return kind, encoded(tame({"model": model} | {k: junk.value(rng) for k in rng.sample(sorted(FIELDS), 3)}))
    found = valid(rng, model)
    if kind == "mutated":
        for _ in range(rng.randint(1, 3)):
            mutate(rng, found)
    data = encoded(tame(found))
    return kind, junk.damaged(rng, data) if kind == "damaged" else data


def mutate(rng: random.Random, root: dict[str, Any]) -> None:
    """Changes one value somewhere inside."""
    where: Any = root
    while True:
        keys = list(where) if isinstance(where, dict) else list(range(len(where)))
        if not keys or rng.random() < 0.1:
            break
        key = rng.choice(keys)
        if isinstance(where[key], dict | list) and rng.random() < 0.7:
            where = where[key]
            continue
        if rng.random() < 0.2:
            del where[key]
        else:
            where[key] = junk.value(rng)
        return
    if isinstance(where, dict):
        where[rng.choice(junk.KEYS)] = junk.value(rng)
    else:
        where.append(junk.value(rng))


def tame(found: dict[str, Any]) -> dict[str, Any]:
    """Keeps what the server may accept cheap: few tokens, few choices. Refused values stay."""
    n = found.get("n")
    if type(n) is int and MAX_CHOICES < n <= 128:
        found["n"] = MAX_CHOICES
    limits = [found.get(key) for key in ("max_tokens", "max_completion_tokens")]
    if limits == [None, None]:
        found["max_tokens"] = 2
    return found


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")
