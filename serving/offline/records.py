"""Reads records: requests with the answers that they got."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxchat.errors import safe_repr
from serving.offline.chunks import join_chunks, read_events
from serving.offline.compare import comparable
from serving.offline.lines import parse_line

Json = dict[str, Any]


@dataclass(frozen=True)
class Record:
    """A request with its answer.

    Attributes:
        name: names the record in messages, for example by file and line.
        path: the endpoint.
        request: the body of the request. It is not streamed. Its seed is None only if its temperature is 0.
        response: the whole answer.
    """

    name: str
    path: str
    request: Json
    response: Json


def read_records(path: Path, answers: Path | None = None) -> list[Record]:
    """Reads records from a file: one record in JSON, a list of records in JSON, or a record on each line.

    A record is an object with `request` and `response`. The response is an answer, a list of the chunks of a streamed
    answer, or the text of its events. If the request has no seed, the record may have the field `seed` instead.

    Args:
        path: the file with records; with `answers`, the input of a batch.
        answers: the output of that batch. Requests that were refused are skipped.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file has another form or no answers, a record is incomplete, or the seed of an answer is unknown.
    """
    records = list(_batch(path, answers)) if answers else [_record(name, value) for name, value in _values(path)]
    if not records:
        raise ValueError(f"{answers or path}: no answers to compare with")
    return records


def _values(path: Path) -> Iterator[tuple[str, Any]]:
    """Yields (place, value) for each value in a file. The place says where the value is, for messages.

    The file is one value in JSON, a list of values in JSON, or has a value in JSON on each line.

    Raises:
        ValueError: the file is nested too deep or empty, or a line is not JSON.
    """
    text = path.read_text("utf-8-sig")
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"{path}: not valid JSON: it is nested too deep") from None
    except ValueError:
        yield from _lines(path, text)
        return
    if isinstance(value, list):
        yield from ((f"{path}, record {number}", each) for number, each in enumerate(value, 1))
    else:
        yield str(path), value


def _lines(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    empty = True
    for number, line in enumerate(text.split("\n"), 1):  # texts in JSON may hold U+2028, at which `splitlines` splits
        if not line.strip():
            continue
        try:
            empty = False
            yield f"{path}, line {number}", json.loads(line)
        except (RecursionError, ValueError) as error:
            raise ValueError(f"{path}, line {number}: not valid JSON: {error}") from None
    if empty:
        raise ValueError(f"{path}: the file is empty")


def _record(name: str, value: Any) -> Record:
    for key in ("request", "response"):
        if not isinstance(value, dict) or value.get(key) is None:
            hint = "; the output of a batch is a second argument" if _is_batch(value) else ""
            raise ValueError(f"{name}: a record must be an object with 'request' and 'response'{hint}")
    request, seed = value["request"], value.get("seed")
    if not isinstance(request, dict):
        raise ValueError(f"{name}: 'request' must be an object, got {safe_repr(request)}")
    request = {key: each for key, each in request.items() if key not in ("stream", "stream_options")}
    if request.get("seed") is None:
        if seed is not None and _prompts(request) > 1:
            raise ValueError(
                f"{name}: prompt p of a request without a seed used the seed of the record plus p, so one request "
                "cannot repeat them all. Make a record for each prompt"
            )
        request["seed"] = seed
        if seed is None and request.get("temperature") != 0:
            raise ValueError(
                f"{name}: the request has no seed, so its answer cannot be repeated. Give the header x-jaxchat-seed of "
                "the answer as 'seed' of the record"
            )
    path = "/v1/completions" if "messages" not in request else "/v1/chat/completions"
    return Record(name, path, request, _whole(name, value["response"]))


def _prompts(request: Json) -> int:
    """Returns the number of prompts of a text completion, or 1 for a chat."""
    prompt = request.get("prompt")
    return len(prompt) if isinstance(prompt, list) and not all(isinstance(each, int) for each in prompt) else 1


def _is_batch(value: Any) -> bool:
    return isinstance(value, dict) and "custom_id" in value


def _whole(name: str, response: Any) -> Json:
    """Returns the whole answer in a response, which may be a stream. Raises ValueError if it contains no answer."""
    try:
        chunks = read_events(response) if isinstance(response, str) else response
        answer = join_chunks(chunks) if isinstance(chunks, list) else chunks
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{name}: the chunks of 'response' are not those of an answer: {error}") from None
    if not isinstance(answer, dict) or not isinstance(answer.get("choices"), list):
        raise ValueError(f"{name}: 'response' is not an answer: it has no 'choices'")
    try:
        comparable(answer)
    except (AttributeError, KeyError, TypeError):
        raise ValueError(f"{name}: 'response' is not an answer: its choices have another form") from None
    return answer


def _batch(path: Path, answers: Path) -> Iterator[Record]:
    """Yields the answered requests of a batch. A request without a seed has the seed that `jaxchat batch` gave it.

    Raises:
        ValueError: `answers` is not the output of a batch, or an answer is not whole.
    """
    outputs = dict(_outputs(answers))
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            line = parse_line(text, number)
            if line.refusal is None and line.custom_id in outputs:
                name = f"custom_id {safe_repr(line.custom_id)}"
                yield Record(name, line.path, json.loads(line.body), _whole(name, outputs[line.custom_id]))


def _outputs(path: Path) -> Iterator[tuple[str, Any]]:
    """Yields the `custom_id` and the answer of each line in the output of a batch. Skips refused lines.

    Raises:
        ValueError: the file is not the output of a batch.
    """
    for name, value in _lines(path, path.read_text("utf-8")):
        response = value.get("response") if isinstance(value, dict) else None
        if not isinstance(response, dict) or "status_code" not in response:
            raise ValueError(f"{name}: not the output of a batch")
        if response["status_code"] == 200:
            yield value.get("custom_id"), response.get("body")
