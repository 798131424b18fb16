"""Makes the output lines of a batch, which depend only on the request and the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from jaxchat.openai_json import error_to_json
from serving.offline.lines import BatchLine

Json = dict[str, Any]


def output_line(line: BatchLine, status: int, body: Mapping[str, Any]) -> bytes:
    """Returns the output line of a request, with its newline.

    Args:
        line: the request.
        status: the HTTP status.
        body: the answer, or the error object.
    """
    value = {
        "id": _id("batch_req_", line.digest),
        "custom_id": line.custom_id,
        "response": {
            "status_code": status,
            "request_id": request_id(line),
            "body": stable_answer(body, line.digest),
        },
        "error": None,
    }
    return _json(value) + b"\n"


def refused_line(line: BatchLine) -> bytes:
    """Returns the output line of a request that cannot be sent. `line.refusal` must be set."""
    assert line.refusal is not None
    return output_line(line, line.refusal.http_status, error_to_json(line.refusal))


def request_id(line: BatchLine) -> str:
    """Returns the id of a line's request. The request is sent under this id, and the output line shows it."""
    return _id("req_", line.digest)


def stable_answer(body: Mapping[str, Any], digest: str) -> Json:
    """Returns an answer in a form that depends on neither time nor load.

    Ids derive from `digest`, and `created` is 0. `prompt_tokens_details` is omitted, because the number of cached
    tokens depends on earlier requests. `accepted_drafts` is omitted, because drafts depend on load. An error has none
    of these fields and is returned unchanged.
    """
    answer = dict(body)
    if isinstance(answer.get("id"), str):
        prefix, dash, _ = answer["id"].partition("-")
        answer["id"] = _id(f"{prefix}-" if dash else "", digest)
    if "created" in answer:
        answer["created"] = 0
    if isinstance(answer.get("usage"), dict):
        answer["usage"] = {key: count for key, count in answer["usage"].items() if key != "prompt_tokens_details"}
    if isinstance(answer.get("choices"), list):
        answer["choices"] = [_choice(choice, f"{digest} {index}") for index, choice in enumerate(answer["choices"])]
    return answer


def _json(value: Json) -> bytes:
    """Returns the JSON text of a value in UTF-8. Lone surrogates, which UTF-8 does not have, are escaped."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def _choice(choice: Json, name: str) -> Json:
    choice = {key: value for key, value in choice.items() if key != "accepted_drafts"}
    message = choice.get("message")
    if not isinstance(message, dict) or not isinstance(message.get("tool_calls"), list):
        return choice
    calls = [call | {"id": _id("call_", f"{name} {index}")} for index, call in enumerate(message["tool_calls"])]
    return choice | {"message": message | {"tool_calls": calls}}


def _id(prefix: str, name: str) -> str:
    return prefix + hashlib.sha256(f"{prefix} {name}".encode()).hexdigest()[:24]
