"""Compares an answer with a recorded one, and finds the first difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from jaxchat.errors import safe_repr

_AROUND = 20  # characters that are shown on both sides of a difference
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
_CALL = ("name", "arguments")
_MISSING = object()


@dataclass(frozen=True)
class Difference:
    """The first place where two answers differ.

    Attributes:
        place: the field, with the position of a token or a character.
        recorded: the recorded value, as text.
        now: the new value, as text.
    """

    place: str
    recorded: str
    now: str


def first_difference(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> Difference | None:
    """Returns the first difference of two answers, or None if they are equal.

    Compares token ids first and texts later, because token ids tell the place of a difference best. Does not compare
    ids, times, cached tokens, accepted drafts and fingerprints. Compares the usage if both answers have it. Null, empty
    and absent values are equal.
    """
    parts = comparable(recorded), comparable(now)
    if not all("usage" in part for part in parts):
        for part in parts:
            part.pop("usage", None)
    return next(_differences(*parts, ""), None)


def comparable(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parts of an answer that are compared, in the order of comparison.

    Raises:
        AttributeError, KeyError, TypeError: the answer has another form.
    """
    result = _only(answer, ("prompt_token_ids",))
    result["choices"] = [_choice(choice) for choice in answer.get("choices") or ()]
    if isinstance(usage := answer.get("usage"), Mapping):
        result["usage"] = _only(usage, _COUNTS)
    return result


def _choice(choice: Mapping[str, Any]) -> dict[str, Any]:
    message = choice.get("message") or {}
    result = _only(choice, ("token_ids",))
    if isinstance(logprobs := choice.get("logprobs"), Mapping):
        result["logprobs"] = _logprobs(logprobs)
    result["message"] = _only(message, ("reasoning_content", "content"))
    calls = [_only(call["function"], _CALL) for call in message.get("tool_calls") or ()]
    if calls:
        result["message"]["tool_calls"] = calls
    if message.get("function_call"):
        result["message"]["function_call"] = _only(message["function_call"], _CALL)
    return result | _only(choice, ("text", "finish_reason"))


def _logprobs(logprobs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns log-probabilities without the fields that only some clients receive.

    These fields are `token_id` of an entry and, in a text completion, the list `content` beside the list `tokens`.
    """
    keys = [key for key, value in logprobs.items() if value and not (key == "content" and "tokens" in logprobs)]
    return {key: [_without_id(entry) for entry in logprobs[key]] for key in keys}


def _without_id(entry: Any) -> Any:
    if not isinstance(entry, Mapping) or "token" not in entry:
        return entry
    result = {key: value for key, value in entry.items() if key != "token_id"}
    if "top_logprobs" in result:
        result["top_logprobs"] = [_without_id(top) for top in result["top_logprobs"] or ()]
    return result


def _only(values: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """Returns the entries with these keys, in the order of `keys`, without null and empty values."""
    return {key: values[key] for key in keys if values.get(key) not in (None, "", [])}


def _differences(recorded: Any, now: Any, place: str) -> Iterator[Difference]:
    if isinstance(recorded, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*recorded, *now]):
            inner = f"{place}.{key}" if place else key
            yield from _differences(recorded.get(key, _MISSING), now.get(key, _MISSING), inner)
    elif isinstance(recorded, list) and isinstance(now, list):
        for index, (one, other) in enumerate(zip_longest(recorded, now, fillvalue=_MISSING)):
            yield from _differences(one, other, f"{place}[{index}]")
    elif isinstance(recorded, str) and isinstance(now, str):
        if recorded != now:
            yield _text_difference(recorded, now, place)
    elif recorded != now:
        yield Difference(place, _shown(recorded), _shown(now))


def _text_difference(recorded: str, now: str, place: str) -> Difference:
    pairs = zip_longest(recorded, now)
    position = next(index for index, (one, other) in enumerate(pairs) if one != other)
    span = slice(max(position - _AROUND, 0), position + _AROUND)
    return Difference(f"{place}, character {position}", repr(recorded[span]), repr(now[span]))


def _shown(value: Any) -> str:
    return "nothing" if value is _MISSING else safe_repr(value)
