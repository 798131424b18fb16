"""Converts text completions and token ids: JSON to protobuf and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxchat import v1
from jaxchat.errors import invalid, wrong_type
from jaxchat.openai_json import enums, puts, readers
from jaxchat.openai_json.puts import Put, Table
from jaxchat.openai_json.request import REQUEST
from jaxchat.openai_json.response import Json, usage_to_json


class ParsedText(NamedTuple):
    """A text completion, whether it is streamed, and whether the stream ends with a part that has the usage."""

    request: v1.TextCompletionRequest
    stream: bool
    include_usage: bool


def text_request_from_json(body: Mapping[str, Any], *, allow_unknown: bool = False) -> ParsedText:
    """Reads a text completion in a parsed JSON body, as `request_from_json` reads a chat completion.

    Raises:
        ChatError: a value has the wrong type or is not accepted, a key is rejected, or `stream_options` is given
            without `stream`.
    """
    body = dict(readers.mapping(body, "body"))
    stream = body.pop("stream", None)
    stream = stream is not None and readers.boolean(stream, "stream")
    request = v1.TextCompletionRequest()
    puts.fill(request, body, "", TEXT_REQUEST, frozenset(), allow_unknown)
    if request.HasField("stream_options") and not stream:
        raise invalid("stream_options", "only allowed when stream is true.")
    return ParsedText(request, stream, request.stream_options.include_usage)


def tokenize_from_json(body: Mapping[str, Any], *, allow_unknown: bool = False) -> v1.TokenizeRequest:
    """Reads a request for the token ids of a text (`prompt`) or of a conversation (`messages`).

    A request that has neither is read without an error. The session rejects it later.

    Raises:
        ChatError: a value has the wrong type, a key is rejected, or the request has both `prompt` and a key of a
            conversation, such as `messages`.
    """
    request = v1.TokenizeRequest()
    given = {key for key, value in readers.mapping(body, "body").items() if value is not None}
    if "prompt" in given:
        for key in CONVERSATION:
            if key in given:
                raise invalid(key, "only allowed without prompt.")
    puts.fill(request, body, "", TOKENIZE, frozenset(), allow_unknown)
    return request


def detokenize_from_json(body: Mapping[str, Any], *, allow_unknown: bool = False) -> v1.DetokenizeRequest:
    """Reads a request for the text of token ids. Raises `ChatError` if it is not valid."""
    request = v1.DetokenizeRequest()
    puts.fill(request, body, "", DETOKENIZE, frozenset(), allow_unknown)
    if body.get("tokens") is None:
        raise invalid("tokens", "expected an array of token ids, got none.")
    return request


def text_completion_to_json(answer: v1.TextCompletion) -> Json:
    """Returns the `text_completion` object of a complete answer. It omits `seed_used`."""
    return _completion(answer) | {"usage": usage_to_json(answer.usage)}


def text_part_to_json(part: v1.TextCompletion, include_usage: bool) -> Json:
    """Returns the `text_completion` object of a part of a stream.

    With `include_usage`, every part has the key `usage`. Its value is null in all parts except the last one.
    """
    usage = usage_to_json(part.usage) if part.HasField("usage") else None
    return _completion(part) | ({"usage": usage} if include_usage else {})


def tokenized_to_json(answer: v1.TokenizeResponse, *, with_names: bool) -> Json:
    """Returns the object with token ids. `token_strs` is null unless `with_names` is true."""
    names = list(answer.token_strs) if with_names else None
    return {
        "count": answer.count,
        "max_model_len": answer.max_model_len,
        "tokens": list(answer.tokens),
        "token_strs": names,
    }


def _completion(answer: v1.TextCompletion) -> Json:
    return {
        "id": answer.id,
        "object": "text_completion",
        "created": answer.created,
        "model": answer.model,
        "system_fingerprint": answer.system_fingerprint,
        "choices": [text_choice_to_json(choice) for choice in answer.choices],
    }


def text_choice_to_json(choice: v1.TextChoice) -> Json:
    """Returns the object of a choice, or of a part of a choice."""
    result: Json = {
        "index": choice.index,
        "text": choice.text,
        "logprobs": text_logprobs_to_json(choice.logprobs) if choice.HasField("logprobs") else None,
        "finish_reason": enums.FINISH_REASONS[choice.finish_reason],
    }
    prompt_ids, ids = list(choice.prompt_token_ids), list(choice.token_ids)
    if ids or prompt_ids:
        result["token_ids"] = ids
    return result | ({"prompt_token_ids": prompt_ids} if prompt_ids else {})


def text_logprobs_to_json(logprobs: v1.TextLogprobs) -> Json:
    """Returns the API's object for the log-probabilities of a text. It has four lists of equal length."""
    return {
        "tokens": [entry.token for entry in logprobs.tokens],
        "token_logprobs": [entry.logprob if entry.HasField("logprob") else None for entry in logprobs.tokens],
        "top_logprobs": [_likeliest(entry) for entry in logprobs.tokens],
        "text_offset": [entry.text_offset for entry in logprobs.tokens],
    }


def _likeliest(entry: v1.TextTokenLogprob) -> dict[str, float] | None:
    """Returns the log-probabilities of the likeliest tokens and of the token itself, by text.

    If several tokens have the same text, as fragments of characters may, returns the highest log-probability of them.
    """
    if not entry.HasField("logprob"):
        return None
    pairs = [(top.token, top.logprob) for top in entry.top_logprobs]
    likeliest: dict[str, float] = {}
    for token, logprob in [*pairs, (entry.token, entry.logprob)]:
        likeliest.setdefault(token, logprob)
    return likeliest


def _put_prompt(request: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    if isinstance(value, str):
        request.prompt.add().text = readers.string(value, path)
        return
    items = readers.array(value, path)
    if items and isinstance(items[0], int):
        _put_ids(request.prompt.add(), items, path)
        return
    for item in items:
        if isinstance(item, str):
            request.prompt.add().text = readers.string(item, path)
        elif isinstance(item, list | tuple):
            _put_ids(request.prompt.add(), item, path)
        else:
            raise wrong_type(path, "texts or lists of token ids", item)


def _put_ids(prompt: v1.TextPrompt, items: Any, path: str) -> None:
    prompt.token_ids.SetInParent()
    prompt.token_ids.ids.extend(readers.integer(32, least=0)(item, path) for item in items)


def _put_tokens(request: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
    request.tokens.extend(readers.integer(32, least=0)(item, path) for item in readers.array(value, path))


def _of_conversation(put: Put) -> Put:
    """Returns a `Put` for a key of a request. Its value becomes a field of the conversation in the request."""

    def inside(message: Any, key: str, value: Any, path: str, allow_unknown: bool) -> None:
        message.conversation.SetInParent()
        put(message.conversation, key, value, path, allow_unknown)

    return inside


_text = puts.plain(readers.string)
_flag = puts.plain(readers.boolean)
_int32 = puts.plain(readers.integer(32))

TEXT_REQUEST: Table = {
    **{
        field.name: REQUEST[field.name] for field in v1.TextCompletionRequest.DESCRIPTOR.fields if field.name in REQUEST
    },
    "prompt": _put_prompt,
    "suffix": _text,
    "max_tokens": puts.plain(readers.integer(32, least=0)),
    "logprobs": _int32,
    "echo": _flag,
    "best_of": _int32,
    "add_special_tokens": _flag,
}
CONVERSATION: Table = {
    **{key: _of_conversation(REQUEST[key]) for key in ("messages", "tools", "chat_template_kwargs")},
    "add_generation_prompt": _of_conversation(_flag),
    "continue_final_message": puts.only(False),
}
TOKENIZE: Table = {
    "model": _text,
    "prompt": _text,
    "add_special_tokens": _flag,
    "return_token_strs": _flag,
    **CONVERSATION,
}
DETOKENIZE: Table = {"model": _text, "tokens": _put_tokens}
