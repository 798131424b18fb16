"""Asks a target which model it serves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from jaxchat.errors import ChatError, safe_repr
from serving.offline.target import Reply, Target

CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class ServedModel:
    """The id of a model and the `system_fingerprint` of its answers, or None if the server does not send any."""

    id: str
    fingerprint: str | None


async def served_model(target: Target) -> ServedModel:
    """Returns the first model of a target. Lets it generate one token, because only answers have the fingerprint.

    Raises:
        ChatError: the target refuses, or lists no model.
        EngineFailed, Unreachable: the target does not answer.
    """
    models = json_of(await target.send("GET", "/v1/models"))
    try:
        name = models["data"][0]["id"]
    except (KeyError, IndexError, TypeError):
        raise ChatError(f"/v1/models: no list of models, got {safe_repr(models)}") from None
    messages = [{"role": "user", "content": "Hello"}]
    body = {"model": name, "messages": messages, "max_tokens": 1, "seed": 0}
    answer = json_of(await target.send("POST", CHAT, json.dumps(body).encode()))
    return ServedModel(name, answer.get("system_fingerprint"))


def json_of(reply: Reply) -> dict[str, Any]:
    """Returns the JSON object of a response.

    Raises:
        ChatError: the status is not 200, or the body is not a JSON object. The message has the server's words.
    """
    try:
        value = json.loads(reply.body)
    except ValueError:
        value = None
    if reply.status == 200 and isinstance(value, dict):
        return value
    error = value.get("error") if isinstance(value, dict) else None
    words = error.get("message") if isinstance(error, dict) else None
    text = words or safe_repr(reply.body.decode("utf-8", "replace"))
    raise ChatError(f"status {reply.status}: {text}", http_status=reply.status)
