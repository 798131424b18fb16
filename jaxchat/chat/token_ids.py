"""Tells clients the token ids of texts and conversations, and the text of token ids."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

import numpy as np

from jaxchat import v1
from jaxchat.chat.context import ModelInfo
from jaxchat.chat.prompt.build import prompt_tokens
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.request.params import check_callable
from jaxchat.chat.request.prepared_text import raw_prompt_tokens
from jaxchat.chat.request.template_kwargs import template_kwargs
from jaxchat.chat.request.validate import check_model, validate
from jaxchat.chat.request.validate_fields import check_known
from jaxchat.errors import invalid, missing

T = TypeVar("T")
R = TypeVar("R")
ChatPrompt = Callable[[v1.ChatCompletionRequest], Awaitable[np.ndarray]]
TextPrompts = Callable[[v1.TextCompletionRequest], Awaitable[list[np.ndarray]]]


class TokenIds:
    """The methods of a session that convert between text and token ids.

    Args:
        tokenizer: the model's tokenizer.
        template: the model's chat template.
        info: description of the model.
        pool: runs functions that block, such as the tokenizer.
        chat_prompt: returns the prompt of a chat request, i32 `[tokens]`.
        text_prompts: returns the prompts of a text completion, each i32 `[tokens]`.
    """

    def __init__(
        self,
        tokenizer: ChatTokenizer,
        template: ChatTemplate,
        info: ModelInfo,
        pool: Executor,
        *,
        chat_prompt: ChatPrompt,
        text_prompts: TextPrompts,
    ) -> None:
        self._tokenizer, self._template, self._info, self._pool = tokenizer, template, info, pool
        self._chat_prompt, self._text_prompts = chat_prompt, text_prompts

    async def tokenize(self, request: v1.TokenizeRequest) -> v1.TokenizeResponse:
        """Returns the token ids of a text or of a conversation. Raises `ChatError` if the request is rejected."""
        check_known(request)
        if request.HasField("model"):
            check_model(request, self._info.names)
        kind = request.WhichOneof("input")
        if kind is None:
            raise missing("prompt", "Either prompt or messages is required.")
        ids = await self._run(self._text if kind == "prompt" else self._conversation, request)
        names = map(self._tokenizer.spelling_of, ids) if request.return_token_strs else ()
        return v1.TokenizeResponse(
            count=len(ids), max_model_len=self._info.context, tokens=ids, token_strs=[name or "" for name in names]
        )

    async def detokenize(self, request: v1.DetokenizeRequest) -> v1.DetokenizeResponse:
        """Returns the text of token ids. Raises `ChatError` if the request is rejected."""
        check_known(request)
        if request.HasField("model"):
            check_model(request, self._info.names)
        for token in request.tokens:
            if not 0 <= token < self._info.vocab:
                raise invalid("tokens", f"token ids are from 0 to {self._info.vocab - 1}, got {token}.")
        return v1.DetokenizeResponse(prompt=await self._run(self._tokenizer.decode, list(request.tokens)))

    async def render(self, request: v1.RenderRequest) -> v1.RenderResponse:
        """Returns the token ids of a completion's prompts. Raises `ChatError` if the completion would be rejected."""
        match request.WhichOneof("request"):
            case "chat":
                prompts = [await self._chat_prompt(request.chat)]
            case "text":
                prompts = await self._text_prompts(request.text)
            case _:
                raise missing("request", "Either a chat or a text completion is required.")
        return v1.RenderResponse(prompts=[v1.TokenIds(ids=prompt.tolist()) for prompt in prompts])

    async def _run(self, function: Callable[[T], R], argument: T) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(function, argument))

    def _text(self, request: v1.TokenizeRequest) -> list[int]:
        special = request.add_special_tokens or not request.HasField("add_special_tokens")
        info = self._info
        return raw_prompt_tokens(request.prompt, self._tokenizer, info.context, info.vocab, add_special_tokens=special)

    def _conversation(self, request: v1.TokenizeRequest) -> list[int]:
        if request.add_special_tokens:
            raise invalid("add_special_tokens", "only allowed for a prompt: the chat template writes these tokens.")
        conversation, info, template = request.conversation, self._info, self._template
        chat = v1.ChatCompletionRequest(model=info.id, messages=conversation.messages, tools=conversation.tools)
        if conversation.HasField("chat_template_kwargs"):
            chat.chat_template_kwargs = conversation.chat_template_kwargs
        tool_choice = validate(chat, vocab_size=info.vocab, model_ids=info.names)
        check_callable(tool_choice, template.tool_format)
        variables = template.variables(template_kwargs(chat, template, tools=tool_choice.visible))
        begins = conversation.add_generation_prompt or not conversation.HasField("add_generation_prompt")
        ids = prompt_tokens(
            chat, tool_choice, template, self._tokenizer, info.context, info.vocab, variables, begins=begins
        )
        return ids.tolist()  # type: ignore[no-any-return]
