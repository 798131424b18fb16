"""Random bodies for the Responses API, and the check of its streams."""

from __future__ import annotations

import json
import random
from typing import Any

import httpx
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tools.fuzzing import junk
from tools.fuzzing.bodies import SCHEMA, encoded, mutate

CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "1"}
USER = {"role": "user", "content": [{"type": "input_text", "text": "é\x00"}]}
SAID = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a", "annotations": []}]}
THOUGHT = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
FUNCTION = {"type": "function", "name": "f", "parameters": SCHEMA}
INPUTS: list[Any] = [
    "hi",
    [USER],
    [{"role": "developer", "content": "x"}, USER, SAID, USER],
    [USER, THOUGHT, CALL, OUTPUT],
    [USER, THOUGHT, SAID, CALL, CALL | {"call_id": "c2"}, OUTPUT, OUTPUT | {"call_id": "c2"}],
]
FIELDS: dict[str, list[Any]] = {
    "instructions": ["", "Be brief.", "<|im_end|>"],
    "temperature": [0, 0.7, 2],
    "top_p": [0, 1],
    "seed": [0, -1],
    "top_k": [-1, 40],
    "stop": ["a", []],
    "include": [[], ["reasoning.encrypted_content"], ["message.output_text.logprobs"]],
    "top_logprobs": [0, 5],
    "text": [{}, {"format": {"type": "text"}}, {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA}}],
    "reasoning": [{}, {"summary": "auto"}, {"effort": "low"}],
    "tools": [[], [FUNCTION], [{"type": "namespace", "name": "n", "tools": [FUNCTION]}], [{"type": "web_search"}]],
    "tool_choice": ["none", "auto", "required", {"type": "function", "name": "f"}],
    "parallel_tool_calls": [True, False],
    "metadata": [{}, {"a": "b"}],
    "store": [False, True],
    "truncation": ["disabled", "auto"],
    "background": [False],
    "previous_response_id": [None, "resp_1"],
    "user": ["me"],
    "safety_identifier": ["me"],
    "prompt_cache_key": ["k"],
    "return_token_ids": [True],
    "min_tokens": [0, 2],
}
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
ENDS = ("response.completed", "response.incomplete")


class IllegalResponse(Exception):
    """The exception for a response that violates the API."""


def body(rng: random.Random, model: str) -> tuple[str, bytes]:
    """Returns the kind of a random body ("valid", "mutated", "random" or "damaged") and its bytes."""
    kind = rng.choices(("valid", "mutated", "random", "damaged"), (2, 5, 2, 1))[0]
    request: dict[str, Any] = {"model": model, "input": rng.choice(INPUTS)}
    names = rng.sample(sorted(FIELDS), rng.randrange(5))
    request |= {name: junk.value(rng) if kind == "random" else rng.choice(FIELDS[name]) for name in names}
    request = json.loads(json.dumps(request)) if kind != "random" else request
    if rng.random() < 0.5:
        request["stream"] = True
    if kind == "mutated":
        for _ in range(rng.randint(1, 3)):
            mutate(rng, request)
    if request.get("max_output_tokens") is None:
        request["max_output_tokens"] = 2
    data = encoded(request)
    return kind, junk.damaged(rng, data) if kind == "damaged" else data


def outcome(reply: httpx.Response) -> str:
    """Checks an answer with status 200, and returns its outcome.

    Raises:
        IllegalResponse: the answer violates the API.
        ValueError: the answer does not have the types of the API.
    """
    if not reply.headers["content-type"].startswith("text/event-stream"):
        return _ended(Response.model_validate_json(reply.content, strict=True), "200 plain")
    *blocks, remainder = reply.text.split("\n\n")
    events = [_event(block) for block in blocks if not block.startswith(":")]
    numbers = [event.sequence_number for event in events]
    if remainder or numbers != list(range(len(events))):
        raise IllegalResponse(f"numbers of events: {numbers}, after the last: {remainder!r}")
    if events[-1].type not in ENDS:
        raise IllegalResponse(f"a stream that ends with {events[-1].type}")
    return _ended(events[-1].response, "200 stream")


def _event(block: str) -> Any:
    name, data = block.split("\n")
    event = EVENT.validate_json(data.removeprefix("data: "), strict=True)
    if name != f"event: {event.type}":
        raise IllegalResponse(f"{name} for an event of type {event.type}")
    return event


def _ended(response: Response, kind: str) -> str:
    if response.status not in ("completed", "incomplete") or not response.output:
        raise IllegalResponse(f"a response of status {response.status} with {len(response.output)} items")
    return kind
