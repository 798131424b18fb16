"""Sends random requests to a server and checks the answers."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
import httpx

from jaxchat import v1
from tools.fuzzing import bodies, judge, protos, responses

HANG = 60.0  # seconds after which a request counts as hanging
SERVICE = "/jaxchat.v1.ChatService/"
DOORS = {
    "REST": bodies.body,
    "REST text": partial(bodies.body, text=True),
    "responses": responses.body,
    "gRPC": protos.request,
    "gRPC text": partial(protos.request, text=True),
}
PATHS = {"REST": "/chat/completions", "REST text": "/completions", "responses": "/responses"}


@dataclass
class Report:
    """The number of inputs by endpoint, kind and outcome, and each violation with the number of its input."""

    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    violations: list[tuple[int, str, str]] = field(default_factory=list)

    def table(self) -> str:
        lines = [f"{'door':9} {'input':9} {'outcome':20} count"]
        lines += [f"{door:9} {kind:9} {end:20} {count:5}" for (door, kind, end), count in sorted(self.outcomes.items())]
        lines += [f"VIOLATION in input {number}: {what}\n  {data[:500]}" for number, what, data in self.violations[:20]]
        return "\n".join(lines)


class Fuzzer:
    """A client that sends random inputs. Input i depends only on `seed`, the model's id and i.

    Args:
        rest: URL that ends in /v1.
        target: gRPC target such as `host:port`.
        model: the model's id.
        seed: seed of all inputs.
    """

    def __init__(self, rest: str, target: str, model: str, seed: int = 0) -> None:
        self._http = httpx.Client(timeout=HANG, trust_env=False, limits=httpx.Limits(max_connections=64))
        self._rest_url, self._model, self._seed = rest, model, seed
        self._channel = grpc.insecure_channel(target)
        self._methods = {
            False: (v1.ChatCompletionRequest, "Complete", v1.ChatCompletion, "Stream", v1.ChatCompletionChunk),
            True: (v1.TextCompletionRequest, "CompleteText", v1.TextCompletion, "StreamText", v1.TextCompletion),
        }

    def run(self, numbers: range, workers: int = 16) -> Report:
        report = Report()
        with ThreadPoolExecutor(workers) as pool:
            for number, result in zip(numbers, pool.map(self._send, numbers), strict=True):
                door, kind, outcome, data = result
                if outcome.startswith("!"):
                    report.violations.append((number, outcome[1:], repr(data)))
                    outcome = "VIOLATION"
                report.outcomes[door, kind, outcome] += 1
        return report

    def close(self) -> None:
        self._http.close()
        self._channel.close()

    def _send(self, number: int) -> tuple[str, str, str, bytes]:
        rng = random.Random(f"{self._seed}:{number}")
        door = rng.choice(list(DOORS))
        kind, data = DOORS[door](rng, self._model)
        text = door.endswith("text")
        try:
            rpc = door.startswith("gRPC")
            outcome = self._rpc(data, text, rng.random() < 0.5) if rpc else self._rest(PATHS[door], data)
        except Exception as error:  # any exception is a violation
            outcome = f"!{type(error).__name__}: {str(error)[:500]}"
        return door, kind, outcome, data

    def _rest(self, path: str, data: bytes) -> str:
        headers = {"content-type": "application/json"}
        return judge.rest(self._http.post(f"{self._rest_url}{path}", content=data, headers=headers))

    def _rpc(self, data: bytes, text: bool, stream: bool) -> str:
        kind, complete, answer, streamed, part = self._methods[text]

        def call(request: bytes) -> list[Any]:
            if stream:
                method = self._channel.unary_stream(f"{SERVICE}{streamed}", response_deserializer=part.FromString)
                return list(method(request, timeout=HANG))
            method = self._channel.unary_unary(f"{SERVICE}{complete}", response_deserializer=answer.FromString)
            return [method(request, timeout=HANG)]

        return judge.rpc(data, call, kind)
