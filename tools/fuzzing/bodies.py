"""Random REST bodies: valid requests, mutations of them, random JSON and damaged bytes."""

from __future__ import annotations

import json
import random
from typing import Any

from jaxchat.openai_json.text import TEXT_REQUEST
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
    "chat_template_kwargs": [{}, {"enable_thinking": False}],
    "reasoning_effort": ["low"],
    "top_k": [-1, 0, 1, 40],
    "min_p": [0, 0.1, 1],
    "repetition_penalty": [0.5, 1, 1.2],
    "min_tokens": [0, 2],
    "ignore_eos": [False, True],
    "stop_token_ids": [[], [5], [1, 2, 3]],
    "return_token_ids": [True],
    "return_accepted_drafts": [True],
    "prediction": [
        {"type": "content", "content": ""},
        {"type": "content", "content": "hi <|im_end|>"},
        {"type": "content", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ],
    "structured_outputs": [{"regex": "[ab]+"}, {"choice": ["a", "b"]}, {"grammar": 'start: "a"'}, {"json": SCHEMA}],
}
PROMPTS: list[Any] = ["hi", "\u00e9\x00<|im_end|>", ["a", "b c"], [1, 2, 3], [[5], [6, 7]], "x" * 50]
TEXT_FIELDS: dict[str, list[Any]] = {
    **{name: values for name, values in FIELDS.items() if name in TEXT_REQUEST},
    "echo": [True, False],
    "logprobs": [0, 3, 20],
    "best_of": [1],
    "suffix": ["", "x"],
    "max_tokens": [0, 1, 3],
    "add_special_tokens": [True, False],
}
MAX_CHOICES = 4


def valid_text(rng: random.Random, model: str) -> dict[str, Any]:
    """Returns a text completion in which each field alone is valid. Fields may contradict each other."""
    body: dict[str, Any] = {"model": model, "prompt": json.loads(json.dumps(rng.choice(PROMPTS)))}
    for field in rng.sample(sorted(TEXT_FIELDS), rng.randrange(5)):
        body[field] = json.loads(json.dumps(rng.choice(TEXT_FIELDS[field])))
    if rng.random() < 0.5:
        body |= {"stream": True, "stream_options": rng.choice([None, {}, {"include_usage": True}])}
    return body


def valid(rng: random.Random, model: str) -> dict[str, Any]:
    """Returns a chat request in which each field alone is valid. Fields may contradict each other."""
    body: dict[str, Any] = {"model": model, "messages": json.loads(json.dumps(rng.choice(MESSAGES)))}
    for field in rng.sample(sorted(FIELDS), rng.randrange(5)):
        body[field] = json.loads(json.dumps(rng.choice(FIELDS[field])))
    if rng.random() < 0.3:
        body |= {"logprobs": True, "top_logprobs": rng.choice([0, 5, 20])}
    if rng.random() < 0.5:
        body |= {"stream": True, "stream_options": rng.choice([None, {}, {"include_usage": True}])}
    return body


def body(rng: random.Random, model: str, *, text: bool = False) -> tuple[str, bytes]:
    """Returns the kind of a random body ("valid", "mutated", "random" or "damaged") and its bytes.

    Args:
        rng: source of the random choices.
        model: id of the model. Every body names it, unless a mutation or damage changes the name.
        text: whether to make a text completion instead of a chat request.
    """
    kind = rng.choices(("valid", "mutated", "random", "damaged"), (2, 5, 2, 1))[0]
    if kind == "random":
        names = rng.sample(sorted(TEXT_FIELDS if text else FIELDS), 3)
        return kind, encoded(tame({"model": model} | {name: junk.value(rng) for name in names}))
    request = valid_text(rng, model) if text else valid(rng, model)
    if kind == "mutated":
        for _ in range(rng.randint(1, 3)):
            mutate(rng, request)
    data = encoded(tame(request))
    return kind, junk.damaged(rng, data) if kind == "damaged" else data


def mutate(rng: random.Random, root: dict[str, Any]) -> None:
    """Changes, adds or removes one value at a random place inside `root`."""
    node: Any = root
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys or rng.random() < 0.1:
            break
        key = rng.choice(keys)
        if isinstance(node[key], dict | list) and rng.random() < 0.7:
            node = node[key]
            continue
        if rng.random() < 0.2:
            del node[key]
        else:
            node[key] = junk.value(rng)
        return
    if isinstance(node, dict):
        node[rng.choice(junk.KEYS)] = junk.value(rng)
    else:
        node.append(junk.value(rng))


def tame(request: dict[str, Any]) -> dict[str, Any]:
    """Limits tokens and choices in place, so that accepted requests are cheap. Returns `request`.

    Keeps values that the server rejects.
    """
    n = request.get("n")
    if type(n) is int and MAX_CHOICES < n <= 128:
        request["n"] = MAX_CHOICES
    keys = "max_tokens", "max_completion_tokens"
    for key in keys:
        if type(limit := request.get(key)) is int and 3 < limit < 5000:
            request[key] = 2
    if all(request.get(key) is None for key in keys):
        request["max_tokens"] = 2
    return request


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")
