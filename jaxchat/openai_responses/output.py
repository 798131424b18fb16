"""The items of a response's output, and its usage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jaxchat import v1
from jaxchat.openai_responses.thoughts import sealed

Json = dict[str, Any]


def reasoning_item(item_id: str, thoughts: str, status: str, *, encrypted: bool) -> Json:
    """Returns the item with a model's thoughts.

    Args:
        item_id: id of the item.
        thoughts: the thoughts; "" at the start of the item.
        status: status of the item.
        encrypted: whether the item has `encrypted_content`, which clients may send back in place of the thoughts.
    """
    item: Json = {"id": item_id, "type": "reasoning", "summary": [], "status": status}
    item["content"] = [reasoning_part(thoughts)] if thoughts else []
    if encrypted:
        item["encrypted_content"] = sealed(thoughts) if thoughts else None
    return item


def reasoning_part(thoughts: str) -> Json:
    return {"type": "reasoning_text", "text": thoughts}


def message_item(item_id: str, parts: list[Json], status: str) -> Json:
    """Returns the item with the text of an answer. `parts` is empty at the start of the item."""
    return {"id": item_id, "type": "message", "role": "assistant", "status": status, "content": parts}


def text_part(text: str, logprobs: list[Json]) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def call_item(
    item_id: str, call_id: str, name: str, arguments: str, status: str, namespaces: Mapping[str, tuple[str, str]]
) -> Json:
    """Returns the item of a call. `namespaces` is `ResponsesRequest.namespaces`."""
    namespace, own_name = namespaces.get(name, ("", name))
    item = {"id": item_id, "type": "function_call", "call_id": call_id, "name": own_name, "arguments": arguments}
    return item | ({"namespace": namespace} if namespace else {}) | {"status": status}


def logprobs_json(entries: Iterable[v1.TokenLogprob]) -> list[Json]:
    """Returns log-probability entries. The `bytes` of a token without text is an empty list."""
    return [_entry(entry) | {"top_logprobs": [_entry(top) for top in entry.top_logprobs]} for entry in entries]


def _entry(entry: v1.TokenLogprob | v1.TopLogprob) -> Json:
    return {"token": entry.token, "bytes": list(entry.bytes), "logprob": entry.logprob}


def usage_json(usage: v1.Usage) -> Json:
    """Returns the usage. `cache_write_tokens` is 0, because this server does not charge for writing to a cache."""
    details = usage.completion_tokens_details
    counts = {"reasoning_tokens": 0} | {field.name: count for field, count in details.ListFields()}
    cached = usage.prompt_tokens_details.cached_tokens
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": counts,
        "total_tokens": usage.total_tokens,
    }
