"""Reads the lines of a batch: OpenAI's form, one request a line."""

from __future__ import annotations

import codecs
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxchat.errors import ChatError, invalid, missing, safe_repr, wrong_type
from jaxchat.json_text import json_object

ENDPOINTS = ("/v1/chat/completions", "/v1/completions")
_KEYS = ("custom_id", "method", "url", "body")


@dataclass(frozen=True)
class BatchLine:
    """A line of a batch.

    Attributes:
        digest: hexadecimal digits that are the same whenever the same line is read. Ids and seeds derive from it.
        custom_id: the client's name of the request; None if a refused line has none.
        path: the endpoint.
        body: the JSON body, with a seed.
        refusal: why the line cannot be sent; None if it can.
    """

    digest: str
    custom_id: str | None = None
    path: str = ""
    body: bytes = b""
    refusal: ChatError | None = None


class BatchInput:
    """The file of a batch. Only the offsets of the lines are kept in memory. Empty lines are skipped.

    Attributes:
        sha256: hexadecimal SHA-256 of the file.
    """

    def __init__(self, path: Path) -> None:
        """Reads the file once.

        Raises:
            OSError: the file cannot be read.
            ValueError: two lines have the same `custom_id`, or all lines are empty. A malformed line does not raise;
                `line` returns the error of that line.
        """
        self._places: list[tuple[int, int]] = []  # offset in bytes and number of each line
        self._ids: dict[str, int] = {}
        digest, offset = hashlib.sha256(), 0
        self._file = path.open("rb")
        for number, text in enumerate(self._file, 1):
            digest.update(text)
            if text.removeprefix(codecs.BOM_UTF8).strip():
                self._places.append((offset, number))
                self._check_id(text, number)
            offset += len(text)
        if not self._places:
            raise ValueError(f"{path}: no requests")
        self.sha256 = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._places)

    def line(self, index: int) -> BatchLine:
        """Returns the line at an index, from 0. Empty lines have no index."""
        offset, number = self._places[index]
        self._file.seek(offset)
        return parse_line(self._file.readline(), number)

    def close(self) -> None:
        self._file.close()

    def _check_id(self, text: bytes, number: int) -> None:
        custom_id = parse_line(text, number).custom_id
        if custom_id is None:
            return
        if (first := self._ids.setdefault(custom_id, number)) != number:
            raise ValueError(f"custom_id {safe_repr(custom_id)} is on line {first} and on line {number}")


def parse_line(text: bytes, number: int) -> BatchLine:
    """Returns the request of a line, or its refusal.

    A body without a seed gets one that derives from the line, so that every run gives the same answer.

    Args:
        text: the line.
        number: number of the line. If the line has no `custom_id`, its digest depends on `number` too.
    """
    text = text.strip()
    custom_id = None
    try:
        value = json_object(text, "The line")
        custom_id = _custom_id(value)
        body = _body(value)
    except ChatError as error:
        name = text if custom_id is not None else b"%d %b" % (number, text)
        return BatchLine(_digest(name), custom_id, refusal=error)
    digest = _digest(text)
    if body.get("seed") is None:
        body["seed"] = int(digest[:12], 16)  # 48 bits, which every JSON library reads exactly
    return BatchLine(digest, custom_id, value["url"], json.dumps(body).encode())


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _custom_id(value: dict[str, Any]) -> str:
    if not isinstance(name := _required(value, "custom_id"), str):
        raise wrong_type("custom_id", "a string", name)
    return name


def _body(value: dict[str, Any]) -> dict[str, Any]:
    """Checks the line and returns the body of its request. Raises `ChatError` for what a batch cannot send."""
    for key in value:
        if key not in _KEYS and value[key] is not None:
            raise ChatError(f"Unknown parameter: {safe_repr(key)}.", key, "unknown_parameter")
    if (method := _required(value, "method")) != "POST":
        raise invalid("method", f"must be 'POST', got {safe_repr(method)}.")
    if (url := _required(value, "url")) not in ENDPOINTS:
        raise invalid("url", f"must be {' or '.join(map(repr, ENDPOINTS))}, got {safe_repr(url)}.")
    if not isinstance(body := _required(value, "body"), dict):
        raise wrong_type("body", "an object", body)
    if body.get("stream") not in (None, False):
        raise invalid("stream", f"must be false in a batch, got {safe_repr(body['stream'])}.")
    return dict(body)


def _required(value: dict[str, Any], key: str) -> Any:
    if value.get(key) is None:
        raise missing(key)
    return value[key]
