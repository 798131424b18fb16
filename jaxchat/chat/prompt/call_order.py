"""Arranges parallel calls and their results in the order that chat templates show."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, takewhile

from jaxchat.chat.prompt.messages import Message


def results_in_call_order(messages: Sequence[Message]) -> list[Message]:
    """Returns messages with the results of parallel calls in the order of the calls.

    Many templates show no ids, so that order alone tells the model which result belongs to which call. Results keep
    their order unless each call of the message before has exactly one, bound by its id.
    """
    ordered = list(messages)
    for index, message in enumerate(messages):
        ids = _ids(message)
        results = _results_after(index, messages) if len(ids) > 1 else []
        by_id = {result.get("tool_call_id"): result for result in results}
        if results and len(results) == len(ids) == len(by_id) and by_id.keys() == set(ids):
            ordered[index + 1 : index + 1 + len(ids)] = [by_id[id_] for id_ in ids]
    return ordered


def _ids(message: Message) -> list[str | None]:
    return [call.get("id") for call in message.get("tool_calls") or ()]


def _results_after(index: int, messages: Sequence[Message]) -> list[Message]:
    """Returns the tool messages that directly follow the message at `index`."""
    return list(takewhile(lambda message: message["role"] == "tool", islice(messages, index + 1, None)))
