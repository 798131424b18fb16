"""Random requests and the way to send each: protocol, streamed or not, and manner."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Literal

Manner = Literal["patient", "cancels", "slow", "deadline", "malformed"]
WEIGHTS: dict[Manner, int] = {"patient": 30, "cancels": 30, "slow": 10, "deadline": 20, "malformed": 10}
LEGAL: dict[Manner, frozenset[str]] = {
    "patient": frozenset({"completed", "busy"}),
    "cancels": frozenset({"completed", "busy", "cancelled"}),
    "slow": frozenset({"completed", "busy"}),
    "deadline": frozenset({"completed", "busy", "deadline"}),
    "malformed": frozenset({"refused"}),
}
"""The ends that a request may have, by manner."""
WRONG: list[dict[str, Any]] = [
    {"temperature": 3},
    {"n": 0},
    {"messages": [{"role": "user", "content": None}]},
    {"max_tokens": 10**6},
    {"stop": [""]},
    {"logit_bias": {"-1": 0}},
]
FUNCTION = {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}
SCHEMA = {"type": "object", "properties": {"words": {"type": "array", "items": {"type": "string"}, "maxItems": 3}}}
FEATURES: list[dict[str, Any]] = [
    {"top_p": 0.5},
    {"frequency_penalty": 1.2, "presence_penalty": -0.5},
    {"logit_bias": {"65": 5, "70": -100}},
    {"logprobs": True, "top_logprobs": 20},
    {"response_format": {"type": "json_object"}},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "words", "schema": SCHEMA}}},
    {"tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "required"},
]


@dataclass(frozen=True)
class PlannedRequest:
    """A request and the way to send it.

    `patience` is in seconds. For the manner "cancels" it is the time before the request is cancelled, for "deadline"
    the deadline, and for "slow" the pause between reads. The other manners do not use it.
    """

    protocol: Literal["rest", "grpc"]
    stream: bool
    manner: Manner
    patience: float
    fields: dict[str, Any]

    @property
    def name(self) -> tuple[str, str, str]:
        return self.protocol, "stream" if self.stream else "plain", self.manner

    @property
    def choices(self) -> int:
        return int(self.fields["n"])


def draw(rng: random.Random, model: str) -> PlannedRequest:
    manner = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    fields: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": "Tell me of words, or of JSON. " * rng.choice([1, 1, 5, 40])}],
        "max_tokens": rng.choice([1, 8, 30, 120]),
        "n": rng.choice([1, 1, 1, 2, 3]),
        "seed": rng.getrandbits(63),
        "temperature": rng.choice([0, 1, 2]),
        "logprobs": rng.random() < 0.2,
    }
    if rng.random() < 0.3:
        fields["stop"] = ["e", "zz"]
    if rng.random() < 0.4:
        fields |= rng.choice(FEATURES)
    if manner == "malformed":
        fields |= rng.choice(WRONG)
    stream = manner == "slow" or rng.random() < 0.5
    patience = 0.01 * rng.random() if manner == "slow" else rng.choice([0.02, 0.2, 1.0]) * rng.random()
    return PlannedRequest(rng.choice(["rest", "grpc"]), stream, manner, patience, fields)
