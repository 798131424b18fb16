"""The `response` object."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from jaxchat import v1
from jaxchat.errors import ChatError
from jaxchat.openai_responses.output import (
    call_item,
    logprobs_json,
    message_item,
    reasoning_item,
    text_part,
    usage_json,
)
from jaxchat.openai_responses.request import ResponsesRequest

Json = dict[str, Any]

CUT = {"reason": "max_output_tokens"}


@dataclass(frozen=True)
class ResponseIdentity:
    """The values that all objects of one response share.

    Attributes:
        request: the request.
        answer: the chat completion, or one of its chunks. The shared values are read from it.
    """

    request: ResponsesRequest
    answer: v1.ChatCompletion | v1.ChatCompletionChunk

    def item_id(self, kind: str, index: int) -> str:
        """Returns the id of an output item.

        Args:
            kind: the beginning of the id, which depends on the item's type, such as `msg`.
            index: index of the item in the output.
        """
        return f"{kind}_{self._suffix}{index:x}"

    def response(self, status: str, output: list[Json], **fields: Any) -> Json:
        """Returns the `response` object.

        Args:
            status: status of the response.
            output: output items of the response.
            fields: values of fields that are null by default, such as `usage`, and of further fields.
        """
        return {
            "id": f"resp_{self._suffix}",
            "object": "response",
            "created_at": self.answer.created,
            "status": status,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "model": self.answer.model,
            "output": output,
            "usage": None,
            **self.request.echo,
            "system_fingerprint": self.answer.system_fingerprint,
            **fields,
        }

    def ended(self, finish: v1.FinishReason, output: list[Json], usage: v1.Usage, **fields: Any) -> Json:
        """Returns the `response` object of an answer that ended with the reason `finish`."""
        cut = finish == v1.FINISH_REASON_LENGTH
        end = {"incomplete_details": CUT} if cut else {"completed_at": int(time.time())}
        return self.response(item_status(finish), output, usage=usage_json(usage), **end, **fields)

    @property
    def _suffix(self) -> str:
        return self.answer.id.rpartition("-")[2]


def completion_to_response(request: ResponsesRequest, completion: v1.ChatCompletion) -> Json:
    """Returns the `response` object of a complete answer to `request`."""
    identity = ResponseIdentity(request, completion)
    (choice,) = completion.choices
    output = list(_items(identity, choice))
    output[-1]["status"] = item_status(choice.finish_reason)
    ids = token_ids_json(completion.prompt_token_ids, choice.token_ids)
    return identity.ended(choice.finish_reason, output, completion.usage, **ids)


def _items(identity: ResponseIdentity, choice: v1.Choice) -> Iterator[Json]:
    """Yields the items with thoughts, text and calls. Yields an empty message if the answer has none of them."""
    message, index = choice.message, 0
    if message.reasoning_content:
        item_id = identity.item_id("rs", index)
        yield reasoning_item(item_id, message.reasoning_content, "completed", encrypted=identity.request.encrypted)
        index += 1
    if message.content or not (index or message.tool_calls):
        part = text_part(message.content, logprobs_json(choice.logprobs.content))
        yield message_item(identity.item_id("msg", index), [part], "completed")
        index += 1
    for position, call in enumerate(message.tool_calls, index):
        item_id = identity.item_id("fc", position)
        name, arguments = call.function.name, call.function.arguments
        yield call_item(item_id, call.id, name, arguments, "completed", identity.request.namespaces)


def item_status(finish: v1.FinishReason) -> str:
    """Returns the status of a response and of its last item. `finish` is the finish reason of the answer."""
    return "incomplete" if finish == v1.FINISH_REASON_LENGTH else "completed"


def token_ids_json(prompt: Iterable[int], tokens: Iterable[int]) -> Json:
    """Returns the fields with the token ids of the prompt and the answer. Omits a field without ids."""
    ids = {"prompt_token_ids": list(prompt), "token_ids": list(tokens)}
    return {key: value for key, value in ids.items() if value}


def error_json(error: ChatError) -> Json:
    """Returns the error of a response that failed after it had begun."""
    code = "rate_limit_exceeded" if error.http_status == 429 else "server_error"
    code = "invalid_prompt" if 400 <= error.http_status < 429 else code
    return {"code": code, "message": error.message, "param": error.param, "type": error.type}
