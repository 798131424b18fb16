"""Answers as protobuf messages, whole or in chunks."""

from __future__ import annotations

import secrets
import string
import time
from collections.abc import Iterable

from jaxchat import v1
from jaxchat.chat.choice import Delta
from jaxchat.chat.toolcalls import Call

_ALPHABET = string.ascii_letters + string.digits


class Answer:
    """What all messages of one answer share: id, time of acceptance, model, fingerprint, seed, prompt length."""

    def __init__(self, model: str, fingerprint: str) -> None:
        self.id = "chatcmpl-" + "".join(secrets.choice(_ALPHABET) for _ in range(29))
        self.created = int(time.time())
        self.model = model
        self.fingerprint = fingerprint
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.seed = 0

    def completion(self, choices: list[Delta], with_logprobs: bool) -> v1.ChatCompletion:
        """The whole answer, from everything each choice became."""
        return v1.ChatCompletion(
            id=self.id,
            created=self.created,
            model=self.model,
            system_fingerprint=self.fingerprint,
            choices=[_choice(index, choice, with_logprobs) for index, choice in enumerate(choices)],
            usage=self._usage(),
            seed_used=self._signed_seed(),
        )

    def role_chunk(self, index: int) -> v1.ChatCompletionChunk:
        """The chunk that opens a choice."""
        return self._chunk(v1.ChunkChoice(index=index, delta=v1.Delta(role=v1.ROLE_ASSISTANT, content="")))

    def chunks(self, index: int, delta: Delta, with_logprobs: bool) -> Iterable[v1.ChatCompletionChunk]:
        """Chunks for what is new in a choice; entries travel with the text they belong to."""
        if delta.text or delta.entries:
            choice = v1.ChunkChoice(index=index, delta=v1.Delta(content=delta.text))
            if with_logprobs:
                choice.logprobs.content.extend(delta.entries)
            yield self._chunk(choice)
        for position, call in delta.numbered_calls():
            for fragment in _fragments(position, call):
                yield self._chunk(v1.ChunkChoice(index=index, delta=v1.Delta(tool_calls=[fragment])))
        if delta.finish:
            yield self._chunk(v1.ChunkChoice(index=index, delta=v1.Delta(), finish_reason=delta.finish))

    def usage_chunk(self) -> v1.ChatCompletionChunk:
        """The last chunk of a stream that asked for usage."""
        chunk = self._chunk()
        chunk.usage.CopyFrom(self._usage())
        return chunk

    def _chunk(self, *choices: v1.ChunkChoice) -> v1.ChatCompletionChunk:
        return v1.ChatCompletionChunk(
            id=self.id,
            created=self.created,
            model=self.model,
            system_fingerprint=self.fingerprint,
            choices=choices,
            seed_used=self._signed_seed(),
        )

    def _usage(self) -> v1.Usage:
        return v1.Usage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            total_tokens=self.prompt_tokens + self.completion_tokens,
        )

    def _signed_seed(self) -> int:
        """The 64 bits of the seed as the contract's signed integer, so that an unseeded answer can be replayed."""
        return self.seed - (1 << 64) if self.seed >> 63 else self.seed


def _choice(index: int, whole: Delta, with_logprobs: bool) -> v1.Choice:
    message = v1.AssistantMessage(role=v1.ROLE_ASSISTANT, tool_calls=[_tool_call(call) for call in whole.calls])
    if whole.text or not whole.calls:
        message.content = whole.text
    choice = v1.Choice(index=index, message=message, finish_reason=whole.finish)
    if with_logprobs:
        choice.logprobs.SetInParent()
        choice.logprobs.content.extend(whole.entries)
    return choice


def _tool_call(call: Call) -> v1.ToolCall:
    function = v1.FunctionCall(name=call.name, arguments=call.arguments)
    return v1.ToolCall(id=call.id, type=v1.TOOL_TYPE_FUNCTION, function=function)


def _fragments(position: int, call: Call) -> Iterable[v1.ToolCallDelta]:
    """The opening fragment, which alone has id, type and name, and then the arguments."""
    opening = v1.FunctionCall(name=call.name, arguments="")
    yield v1.ToolCallDelta(index=position, id=call.id, type=v1.TOOL_TYPE_FUNCTION, function=opening)
    yield v1.ToolCallDelta(index=position, function=v1.FunctionCall(arguments=call.arguments))
