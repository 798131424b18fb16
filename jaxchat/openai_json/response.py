"""Converts answers to the JSON objects of the OpenAI API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.message import Message

from jaxchat import v1
from jaxchat.errors import ChatError, invalid, safe_repr
from jaxchat.openai_json import enums

Json = dict[str, Any]

_ROLE_WORDS = {number: word for word, number in enums.ROLES.items()}


def completion_to_json(completion: v1.ChatCompletion) -> Json:
    """Returns the `chat.completion` object. It omits `seed_used`."""
    return {
        "id": completion.id,
        "object": "chat.completion",
        "created": completion.created,
        "model": completion.model,
        "system_fingerprint": completion.system_fingerprint,
        "choices": [_choice(choice) for choice in completion.choices],
        "usage": usage_to_json(completion.usage),
    } | _token_ids("prompt_token_ids", completion)


def chunk_to_json(chunk: v1.ChatCompletionChunk, include_usage: bool) -> Json:
    """Returns the `chat.completion.chunk` object.

    With `include_usage`, every chunk has the key `usage`. Its value is null in all chunks except the last one.
    """
    result: Json = {
        "id": chunk.id,
        "object": "chat.completion.chunk",
        "created": chunk.created,
        "model": chunk.model,
        "system_fingerprint": chunk.system_fingerprint,
        "choices": [_chunk_choice(choice) for choice in chunk.choices],
    } | _token_ids("prompt_token_ids", chunk)
    if include_usage:
        result["usage"] = usage_to_json(chunk.usage) if chunk.HasField("usage") else None
    return result


def model_to_json(model: v1.Model) -> Json:
    """Returns the `model` object. It has `chat_template` if the server described the model's chat template."""
    result: Json = {"id": model.id, "object": "model", "created": model.created, "owned_by": model.owned_by}
    if model.HasField("chat_template"):
        result["chat_template"] = chat_template_to_json(model.chat_template)
    return result


def chat_template_to_json(template: v1.ChatTemplate) -> Json:
    """Returns the object that says for each part of a conversation whether the template or the server writes it."""
    parts = ("tools", "calls", "results", "system")
    writers = {part: enums.PROMPT_WRITERS.get(getattr(template, part)) for part in parts}
    return {"tool_format": template.tool_format} | writers


def answer_to_json(message: Message) -> Json:
    """Returns the JSON object of an answer, of a part of an answer, or of a model.

    Raises:
        KeyError: the message has another type.
    """
    return _WRITERS[type(message)](message)


def error_to_json(error: ChatError) -> Json:
    """Returns the error object. It always has four keys, and their values may be null."""
    return {
        "error": {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
        }
    }


def message_to_json(message: Message) -> Json:
    """Returns a message in the form of `messages` in a request, so that an answer can be sent back as history.

    Raises:
        ChatError: the protobuf message is neither an `AssistantMessage` nor a `ChatMessage`.
    """
    if isinstance(message, v1.AssistantMessage):
        return _message(message)
    if not isinstance(message, v1.ChatMessage):
        raise invalid("messages", f"expected a message, got {safe_repr(type(message).__name__)}.")
    result: Json = {"role": _ROLE_WORDS.get(message.role), "content": _content(message)}
    for key in ("name", "tool_call_id", "refusal", "reasoning_content"):
        if message.HasField(key):
            result[key] = getattr(message, key)
    return result | _calls(message)


def _content(message: v1.ChatMessage) -> Any:
    kind = message.WhichOneof("content_kind")
    if kind == "parts":
        return [_part(part) for part in message.parts.parts]
    return message.text if kind else None


def _part(part: v1.ContentPart) -> Json:
    if part.type == v1.CONTENT_PART_TYPE_REFUSAL:
        return {"type": "refusal", "refusal": part.refusal}
    return {"type": "text", "text": part.text}


def _choice(choice: v1.Choice) -> Json:
    no_text = not choice.message.HasField("content")
    return {
        "index": choice.index,
        "message": _message(choice.message),
        "logprobs": _logprobs(choice.logprobs, no_text) if choice.HasField("logprobs") else None,
        "finish_reason": enums.FINISH_REASONS[choice.finish_reason],
    } | _token_ids("token_ids", choice)


def _message(message: v1.AssistantMessage) -> Json:
    content = message.content if message.HasField("content") else None
    return {"role": "assistant", "content": content} | _thoughts(message) | _calls(message)


def _thoughts(message: v1.AssistantMessage | v1.Delta) -> Json:
    return {"reasoning_content": message.reasoning_content} if message.HasField("reasoning_content") else {}


def _calls(message: v1.AssistantMessage | v1.ChatMessage) -> Json:
    result: Json = {}
    if message.tool_calls:
        result["tool_calls"] = [_tool_call(call) for call in message.tool_calls]
    if message.HasField("function_call"):
        result["function_call"] = _function_call(message.function_call)
    return result


def _tool_call(call: v1.ToolCall) -> Json:
    return {"id": call.id, "type": "function", "function": _function_call(call.function)}


def _function_call(call: v1.FunctionCall) -> Json:
    return {"name": call.name, "arguments": call.arguments}


def _chunk_choice(choice: v1.ChunkChoice) -> Json:
    return {
        "index": choice.index,
        "delta": _delta(choice.delta),
        "logprobs": _logprobs(choice.logprobs, False) if choice.HasField("logprobs") else None,
        "finish_reason": enums.FINISH_REASONS[choice.finish_reason],
    } | _token_ids("token_ids", choice)


def _token_ids(key: str, message: Any) -> Json:
    """Returns `{key: ids}` for the token ids in the field `key` of a message, or {} if the field is empty."""
    ids = list(getattr(message, key))
    return {key: ids} if ids else {}


def _delta(delta: v1.Delta) -> Json:
    result: Json = {}
    if delta.role:
        result = {"role": _ROLE_WORDS[delta.role], "content": None}
    if delta.HasField("content"):
        result["content"] = delta.content
    result |= _thoughts(delta)
    if delta.tool_calls:
        result["tool_calls"] = [_call_fragment(call) for call in delta.tool_calls]
    if delta.HasField("function_call"):
        result["function_call"] = _call_parts(delta.function_call)
    return result


def _call_fragment(call: v1.ToolCallDelta) -> Json:
    result: Json = {"index": call.index}
    if call.HasField("id"):
        result |= {"id": call.id, "type": "function"}
    return result | {"function": _call_parts(call.function)}


def _call_parts(call: v1.FunctionCall) -> Json:
    return {key: getattr(call, key) for key in ("name", "arguments") if call.HasField(key)}


def _logprobs(logprobs: v1.ChoiceLogprobs, no_text: bool) -> Json:
    return {"content": None if no_text else [_token_logprob(entry) for entry in logprobs.content]}


def _token_logprob(entry: v1.TokenLogprob) -> Json:
    return _entry(entry) | {"top_logprobs": [_entry(top) for top in entry.top_logprobs]}


def _entry(entry: v1.TokenLogprob | v1.TopLogprob) -> Json:
    data: Sequence[int] | None = list(entry.bytes) if entry.HasField("bytes") else None
    return {"token": entry.token, "logprob": entry.logprob, "bytes": data}


def usage_to_json(usage: v1.Usage) -> Json:
    """Returns the `usage` object."""
    result: Json = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.HasField("prompt_tokens_details"):
        result["prompt_tokens_details"] = _prompt_details(usage.prompt_tokens_details)
    if usage.HasField("completion_tokens_details"):
        result["completion_tokens_details"] = _completion_details(usage.completion_tokens_details)
    return result


def _prompt_details(details: v1.PromptTokensDetails) -> Json:
    return {"cached_tokens": details.cached_tokens}


def _completion_details(details: v1.CompletionTokensDetails) -> Json:
    return {field.name: count for field, count in details.ListFields()}


_WRITERS: dict[type[Message], Callable[[Any], Json]] = {
    v1.ChatCompletion: completion_to_json,
    v1.Choice: _choice,
    v1.AssistantMessage: _message,
    v1.ToolCall: _tool_call,
    v1.FunctionCall: _call_parts,
    v1.ChunkChoice: _chunk_choice,
    v1.Delta: _delta,
    v1.ToolCallDelta: _call_fragment,
    v1.TokenLogprob: _token_logprob,
    v1.TopLogprob: _entry,
    v1.Usage: usage_to_json,
    v1.PromptTokensDetails: _prompt_details,
    v1.CompletionTokensDetails: _completion_details,
    v1.Model: model_to_json,
    v1.ChatTemplate: chat_template_to_json,
}
