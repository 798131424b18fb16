"""Random protobuf requests as bytes: valid ones, random fields, unknown fields, damaged bytes."""

from __future__ import annotations

import random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from jaxchat import v1
from jaxchat.errors import ChatError
from jaxchat.openai_json import request_from_json, text_request_from_json
from tools.fuzzing import bodies, junk

INTEGERS = [0, 1, -1, 2, 20, 21, 128, 129, 999, 2**31 - 1, -(2**31)]
_TEXTS = [text for text in junk.TEXTS if text.isprintable() or "\x00" in text] + junk.WORDS


Request = v1.ChatCompletionRequest | v1.TextCompletionRequest


def request(rng: random.Random, model: str, *, text: bool = False) -> tuple[str, bytes]:
    """Returns the kind of a random request ("valid", "mutated", "random", "unknown" or "damaged") and its bytes.

    Args:
        rng: source of the random choices.
        model: id of the model.
        text: whether to make a text completion instead of a chat request.
    """
    made = v1.TextCompletionRequest if text else v1.ChatCompletionRequest
    kind = rng.choices(("valid", "mutated", "random", "unknown", "damaged"), (2, 4, 2, 1, 1))[0]
    message: Request = made(model=model)
    if kind != "random":
        message.MergeFrom(_valid_text(rng, model) if text else _valid(rng, model))  # type: ignore[arg-type]
    if kind in ("mutated", "random"):
        fill(rng, message, 0.1 if kind == "mutated" else 0.3)
        message.model = rng.choice([model] * 9 + ["other"])
    data = tame(message).SerializeToString()
    if kind == "unknown":
        data += rng.choice([b"\xba\x3e\x01x", b"\xf8\x3f\x01", b"\xc1\x3e" + bytes(8)])
    return kind, tamed(junk.damaged(rng, data), made) if kind == "damaged" else data


def _valid_text(rng: random.Random, model: str) -> v1.TextCompletionRequest:
    try:
        return text_request_from_json(bodies.valid_text(rng, model) | {"stream": True}).request
    except ChatError:
        return text_request_from_json({"model": model, "prompt": "hi"}).request


def _valid(rng: random.Random, model: str) -> v1.ChatCompletionRequest:
    body = bodies.valid(rng, model)
    body["stream"] = True
    try:
        return request_from_json(body).request
    except ChatError:
        return request_from_json({"model": model, "messages": bodies.MESSAGES[0]}).request


def fill(rng: random.Random, message: Message, chance: float, depth: int = 0) -> None:
    """Sets each field of `message` to a random value of its type, with probability `chance`.

    Args:
        rng: source of the random values.
        message: the message to change.
        chance: the probability, from 0 to 1.
        depth: number of messages around `message`. With more than four, no field is set.
    """
    for field in message.DESCRIPTOR.fields:
        if rng.random() > chance or depth > 4:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for _ in range(rng.randrange(3)):
                getattr(message, field.name)[rng.choice(INTEGERS)] = rng.choice([0.0, -100, 100, 101, float("nan")])
        elif field.message_type is not None:
            inner = getattr(message, field.name)
            for target in [inner.add() for _ in range(rng.randrange(4))] if field.is_repeated else [inner]:
                target.SetInParent()
                fill(rng, target, 0.6, depth + 1)
        elif field.is_repeated:
            getattr(message, field.name).extend(_scalar(rng, field) for _ in range(rng.randrange(6)))
        else:
            setattr(message, field.name, _scalar(rng, field))


def _scalar(rng: random.Random, field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return rng.choice([0, 1, 2, 3, 5, 77])
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return rng.choice([*_TEXTS, "{}", "[", '{"type":"object"}'])
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return rng.choice([0.0, 0.5, 1.0, -2.0, 2.1, float("nan"), float("inf"), 1e-320])
    return rng.choice(INTEGERS)


def tame(message: Request) -> Request:
    """Limits tokens and choices in place, so that accepted requests are cheap. Returns `message`."""
    if bodies.MAX_CHOICES < message.n <= 128:
        message.n = bodies.MAX_CHOICES
    fields = [name for name in ("max_tokens", "max_completion_tokens") if name in message.DESCRIPTOR.fields_by_name]
    for field in fields:
        if 3 < getattr(message, field) < 5000:
            setattr(message, field, 2)
    if not any(map(message.HasField, fields)):
        message.max_tokens = 2
    return message


def tamed(data: bytes, kind: type[Request]) -> bytes:
    """Applies `tame` to bytes that can be parsed as a message of `kind`. Returns other bytes unchanged."""
    try:
        return tame(kind.FromString(data)).SerializeToString()
    except DecodeError:
        return data
