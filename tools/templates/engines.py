"""Renders conversations in two ways: as the server does for a request, and with `apply_chat_template`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import TemplateSyntaxError
from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

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
    """A prompt as token ids and as text, or the reason for a refusal."""

    ids: tuple[int, ...] = ()
    text: str = ""
    refused: str = ""
    param: str = ""  # the part of the request that is refused, where known


class Jaxchat:
    """A renderer of one model's prompts that uses jaxchat's own code.

    Args:
        directory: directory of the model.
    """

    def __init__(self, directory: Path) -> None:
        """Loads template and tokenizer of a model. Raises ModelError if one of them cannot be served."""
        self.template = load_template(directory)
        self.tokenizer = load_tokenizer(directory, self.template)

    def prompt(self, conversation: Conversation) -> Prompt:
        """Returns the prompt that a request with this conversation would have."""
        try:
            request = request_from_json(conversation.request()).request
            size = self.tokenizer.size
            choice = validate(request, vocab_size=size, model_ids=("m",), streamed=False)
            ids = prompt_tokens(request, choice, self.template, self.tokenizer, _CONTEXT, size).tolist()
        except ChatError as error:
            return Prompt(refused=error.message, param=error.param or "")
        return Prompt(tuple(ids), self.decode(ids))

    def control(self) -> str:
        """Returns the spelling of the last control token that the template writes.

        If the template writes no control token, returns the spelling of any control token.
        """
        turns = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
        prompt = self.prompt(Conversation(name="control", messages=[*turns, turns[0]]))
        controls = self.tokenizer.control_tokens.ids
        written = [id_ for id_ in prompt.ids if id_ in controls] or sorted(controls)
        spellings = self.tokenizer.control_tokens.spellings
        return next(each for each in spellings if self.tokenizer.id_of(each) == written[-1])

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of token ids, including the spellings of special tokens."""
        special = self.tokenizer.special_tokens
        parts = (special[id_].encode() if id_ in special else self.tokenizer.bytes_of(id_) for id_ in ids)
        return b"".join(parts).decode(errors="replace")


class Transformers:
    """A renderer of prompts by `apply_chat_template` for one model.

    Args:
        directory: directory of the model.
        decode: returns the text of token ids.
    """

    def __init__(self, directory: Path, decode: Callable[[Sequence[int]], str]) -> None:
        """Loads the tokenizer with its templates. `decode` converts token ids to text."""
        self._tokenizer = PreTrainedTokenizerFast.from_pretrained(directory)
        self._decode = decode

    def prompt(self, messages: Sequence[Json], tools: Sequence[Json], *, add_generation_prompt: bool = True) -> Prompt:
        """Returns the prompt of a conversation, or the reason why the template refuses it.

        Keys whose value is null are passed to the template unchanged.

        Args:
            messages: the messages in JSON form.
            tools: the tools in JSON form.
            add_generation_prompt: whether the prompt ends with the beginning of an assistant turn.
        """
        functions = list(tools) or None
        try:
            (text,), _ = render_jinja_template(
                [list(messages)],
                tools=functions,
                chat_template=self._tokenizer.get_chat_template(tools=functions),
                add_generation_prompt=add_generation_prompt,
                **self._tokenizer.special_tokens_map,
            )
        except Exception as error:  # templates are programs, which may raise anything
            return Prompt(refused=str(error) or type(error).__name__)
        ids = self._tokenizer(text, add_special_tokens=False).input_ids
        return Prompt(tuple(ids), self._decode(ids))


def is_valid(directory: Path) -> bool:
    """Returns whether `transformers` can compile the chat template of a model."""
    template = PreTrainedTokenizerFast.from_pretrained(directory).get_chat_template()
    try:
        render_jinja_template([[]], chat_template=template)
    except TemplateSyntaxError:
        return False
    except Exception:  # templates are programs, which may raise anything
        return True
    return True


def plain_form(conversation: Conversation) -> tuple[list[Json], list[Json]]:
    """Returns messages and tools in the plain form, which the documentation of `transformers` describes.

    Keys whose value is null are removed, parts of contents are joined, and the role `developer` becomes `system`.
    Arguments that are the text of a JSON object become that object.
    """
    return [_plain_message(message) for message in conversation.messages], list(conversation.tools)


def _plain_message(message: Json) -> Json:
    result = {key: value for key, value in message.items() if value is not None}
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
