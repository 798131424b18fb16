"""The two renderings of a conversation: the path that serves requests, and `apply_chat_template`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from jaxchat.chat.prompt.build import prompt_tokens
from jaxchat.chat.prompt.template_files import load_template
from jaxchat.chat.prompt.tokenizer import load_tokenizer
from jaxchat.chat.request.validate import validate
from jaxchat.errors import ChatError
from jaxchat.openai_json.request import request_from_json
from tools.templates.conversations import Conversation, Json

_CONTEXT = 1 << 20  # tokens; more than any conversation has


@dataclass(frozen=True)
class Prompt:
    """A prompt as token ids and as text, or the reason of a refusal."""

    ids: tuple[int, ...] = ()
    text: str = ""
    refused: str = ""
    param: str = ""  # the part of the request that is refused, where known


class Jaxchat:
    """The prompt path of jaxchat for one model."""

    def __init__(self, directory: Path) -> None:
        """Loads template and tokenizer. Raises ModelError if they cannot be served."""
        self.template = load_template(directory)
        self.tokenizer = load_tokenizer(directory)
        self.tokenizer.learn_turns(self.template)

    def prompt(self, conversation: Conversation) -> Prompt:
        """Returns the prompt that a request with this conversation would have."""
        try:
            request = request_from_json(conversation.request()).request
            choice = validate(request, vocab_size=self.tokenizer.size, model_ids=("m",), streamed=False)
            ids = prompt_tokens(request, choice, self.template, self.tokenizer, _CONTEXT).tolist()
        except ChatError as error:
            return Prompt(refused=error.message, param=error.param or "")
        return Prompt(tuple(ids), self._text(ids))

    def _text(self, ids: Sequence[int]) -> str:
        special = self.tokenizer.special_tokens
        parts = (special[id_].encode() if id_ in special else self.tokenizer.bytes_of(id_) for id_ in ids)
        return b"".join(parts).decode(errors="replace")


class Transformers:
    """`apply_chat_template` for one model."""

    def __init__(self, directory: Path, control: Sequence[str]) -> None:
        """Loads the tokenizer. Messages cannot write the tokens in `control`, as jaxchat does not let them."""
        self._tokenizer = PreTrainedTokenizerFast.from_pretrained(directory)
        self._tokenizer.chat_control_tokens = list(control)

    def prompt(self, messages: Sequence[Json], tools: Sequence[Json] | None) -> Prompt:
        """Returns the prompt of messages and tools in the form that templates read."""
        options: dict[str, Any] = {"tools": list(tools) if tools else None, "add_generation_prompt": True}
        try:
            text = self._tokenizer.apply_chat_template(list(messages), tokenize=False, **options)
            ids = self._tokenizer.apply_chat_template(
                list(messages), tokenize=True, return_dict=False, sanitize_control_tokens=True, **options
            )
        except Exception as error:  # templates are programs, which may raise anything
            return Prompt(refused=str(error) or type(error).__name__)
        return Prompt(tuple(ids), text)


def plain_form(conversation: Conversation) -> tuple[list[Json], list[Json]]:
    """Returns messages and tools as the documents of `transformers` want them, with nothing added or left out.

    Parts are joined, a developer is a system, and arguments that are a JSON object become that object.
    """
    return [_plain_message(message) for message in conversation.messages], list(conversation.tools)


def _plain_message(message: Json) -> Json:
    result = dict(message)
    if isinstance(result.get("content"), list):
        result["content"] = "".join(part["text"] for part in result["content"])
    if result["role"] == "developer":
        result["role"] = "system"
    if "tool_calls" in result:
        result["tool_calls"] = [_plain_call(call) for call in result["tool_calls"]]
    return result


def _plain_call(call: Json) -> Json:
    function = call["function"]
    try:
        value = json.loads(function["arguments"])
    except ValueError:
        value = None
    return call | {"function": function | ({"arguments": value} if isinstance(value, dict) else {})}
