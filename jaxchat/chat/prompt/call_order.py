"""Arranges parallel calls and their results in the order that chat templates show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, takewhile

from jaxchat.chat.prompt.messages import Message


def results_in_call_order(messages: Sequence[Message]) -> list[Message]:
    """Returns messages with the results of parallel calls in the order of the calls.

    Many templates do not print ids, so only the order tells the model which result belongs to which call. Reorders
    results only if each call has exactly one result with its id.
    """
    ordered = list(messages)
    for index, message in enumerate(messages):
        ids = _ids(message)
        results = _results_after(index, messages) if len(ids) > 1 else []
        by_id = {result.get("tool_call_id"): result for result in results}
        if results and len(results) == len(ids) == len(by_id) and by_id.keys() == set(ids):
            ordered[index + 1 : index + 1 + len(ids)] = [by_id[id_] for id_ in ids]
    return ordered


def calls_apart(messages: Sequence[Message]) -> list[Message]:
    """Returns messages in which each parallel call has its own message, directly followed by its results.

    If every call has an id, and all ids differ, a result belongs to the call that has the id of the result. A result
    with an unknown id belongs to the last call. Otherwise the first result belongs to the first call, the second result
    to the second call, and so on. If there are more results than calls, the further results belong to the last call.
    """
    apart: list[Message] = []
    index = 0
    while index < len(messages):
        message = messages[index]
        results = _results_after(index, messages) if len(_ids(message)) > 1 else []
        apart += _pairs(message, results) if len(_ids(message)) > 1 else [message]
        index += 1 + len(results)
    return apart


def text_before_calls(messages: Sequence[Message]) -> list[Message]:
    """Returns messages in which text beside calls has its own message, before the message with the calls."""
    apart: list[Message] = []
    for message in messages:
        if has_text_beside_calls(message):
            apart.append({key: value for key, value in message.items() if key != "tool_calls"})
            message = {"role": message["role"], "content": None, "tool_calls": message["tool_calls"]}
        apart.append(message)
    return apart


def has_text_beside_calls(message: Message) -> bool:
    """Returns whether a message with calls has content other than white space."""
    return bool(message.get("tool_calls") and (message.get("content") or "").strip())


def _pairs(message: Message, results: Sequence[Message]) -> Iterator[Message]:
    """Yields, for each call of `message`, a message with this call and then the results of this call."""
    ids = _ids(message)
    places = {id_: place for place, id_ in enumerate(ids)}
    bound, last = len(places) == len(ids) and None not in places, len(ids) - 1
    answers: list[list[Message]] = [[] for _ in ids]
    for position, result in enumerate(results):
        place = places.get(result.get("tool_call_id"), last) if bound else min(position, last)
        answers[place].append(result)
    for call, answer in zip(message["tool_calls"], answers, strict=True):
        yield message | {"tool_calls": [call]}
        yield from answer
        message = {"role": message["role"], "content": None}


def _ids(message: Message) -> list[str | None]:
    return [call.get("id") for call in message.get("tool_calls") or ()]


def _results_after(index: int, messages: Sequence[Message]) -> list[Message]:
    """Returns the tool messages that directly follow the message at `index`."""
    return list(takewhile(lambda message: message["role"] == "tool", islice(messages, index + 1, None)))
