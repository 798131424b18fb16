"""Builds the protobuf messages of an answer, complete or in chunks."""

from __future__ import annotations

from collections.abc import Iterable

from jaxchat import v1
from jaxchat.chat.context import Record, random_id
from jaxchat.chat.request.prepared import PreparedRequest
from jaxchat.chat.response.choice import ChoiceDelta
from jaxchat.chat.tools.stream_parser import CallPart


class ResponseBuilder:
    """A builder of the protobuf messages of one answer.

    All messages of an answer have the same id, time, model, fingerprint and seed.

    Args:
        record: the record of the request. Its token counts become the usage.
        fingerprint: the `system_fingerprint`.
        prepared: the interpreted request.
    """

    def __init__(self, record: Record, fingerprint: str, prepared: PreparedRequest) -> None:
        self._record = record
        self._tool_choice = prepared.tool_choice
        self._with_logprobs = prepared.logprobs
        self._id = random_id("chatcmpl-", 29)
        self._fingerprint = fingerprint
        self._seed = prepared.sampling.seed
        self._predicted = 0 if prepared.prediction is None else len(prepared.prediction) * prepared.choices
        self._thinks = prepared.options.splitter is not None
        self._prompt = prepared.prompt.tolist() if prepared.token_ids else []
        record.prompt_tokens = len(prepared.prompt)

    def completion(self, choices: list[ChoiceDelta]) -> v1.ChatCompletion:
        """Returns the complete answer. `choices` has the complete output of each choice, in order."""
        return v1.ChatCompletion(
            id=self._id,
            created=int(self._record.accepted),
            model=self._record.model,
            system_fingerprint=self._fingerprint,
            choices=[self._choice(index, choice) for index, choice in enumerate(choices)],
            usage=self._usage(),
            seed_used=self._signed_seed(),
            prompt_token_ids=self._prompt,
        )

    def role_chunk(self, index: int) -> v1.ChatCompletionChunk:
        """Returns the first chunk of a choice, with the role. It also has empty content, unless calls are required.

        The first chunk of choice 0 also has the prompt's token ids, if the request asks for them.
        """
        delta = v1.Delta(role=v1.ROLE_ASSISTANT)
        if self._tool_choice.mode != "required":
            delta.content = ""
        chunk = self._chunk(v1.ChunkChoice(index=index, delta=delta))
        if index == 0:
            chunk.prompt_token_ids.extend(self._prompt)
        return chunk

    def chunks(self, index: int, delta: ChoiceDelta) -> Iterable[v1.ChatCompletionChunk]:
        """Yields chunks with the new output of a choice.

        The first chunk has the ids of all new tokens, and tells which of these tokens were accepted drafts. The
        log-probability entries of a text are in the same chunk as the text.
        """
        tokens, drafts = delta.tokens, delta.drafts
        for choice in self._chunk_choices(index, delta):
            choice.token_ids.extend(tokens)
            choice.accepted_drafts.extend(drafts)
            tokens = drafts = []
            yield self._chunk(choice)

    def usage_chunk(self) -> v1.ChatCompletionChunk:
        """Returns the last chunk of a stream, which has the usage."""
        chunk = self._chunk()
        chunk.usage.CopyFrom(self._usage())
        return chunk

    def _chunk_choices(self, index: int, delta: ChoiceDelta) -> Iterable[v1.ChunkChoice]:
        if delta.thoughts:
            yield v1.ChunkChoice(index=index, delta=v1.Delta(reasoning_content=delta.thoughts))
        if delta.text or delta.entries:
            choice = v1.ChunkChoice(index=index, delta=v1.Delta(content=delta.text))
            if self._with_logprobs:
                choice.logprobs.content.extend(delta.entries)
            yield choice
        for part in delta.calls:
            for fragment in _fragments(part, self._tool_choice.legacy):
                yield v1.ChunkChoice(index=index, delta=fragment)
        if delta.finish:
            yield v1.ChunkChoice(index=index, delta=v1.Delta(), finish_reason=delta.finish)

    def _choice(self, index: int, delta: ChoiceDelta) -> v1.Choice:
        choice = v1.Choice(
            index=index,
            message=self._message(delta),
            finish_reason=delta.finish,
            token_ids=delta.tokens,
            accepted_drafts=delta.drafts,
        )
        if self._with_logprobs:
            choice.logprobs.SetInParent()
            choice.logprobs.content.extend(delta.entries)
        return choice

    def _message(self, delta: ChoiceDelta) -> v1.AssistantMessage:
        message = v1.AssistantMessage(role=v1.ROLE_ASSISTANT)
        if delta.text or not (delta.calls or self._tool_choice.mode == "required"):
            message.content = delta.text
        if delta.thoughts:
            message.reasoning_content = delta.thoughts
        if self._tool_choice.legacy and delta.calls:
            message.function_call.CopyFrom(_function_call(delta.calls[0]))
        else:
            message.tool_calls.extend(map(_tool_call, delta.calls))
        return message

    def _chunk(self, *choices: v1.ChunkChoice) -> v1.ChatCompletionChunk:
        return v1.ChatCompletionChunk(
            id=self._id,
            created=int(self._record.accepted),
            model=self._record.model,
            system_fingerprint=self._fingerprint,
            choices=choices,
            seed_used=self._signed_seed(),
        )

    def _usage(self) -> v1.Usage:
        prompt, completion = self._record.prompt_tokens, self._record.completion_tokens
        return v1.Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=prompt + completion,
            prompt_tokens_details=v1.PromptTokensDetails(cached_tokens=self._record.cached_tokens),
            completion_tokens_details=self._completion_details(),
        )

    def _completion_details(self) -> v1.CompletionTokensDetails | None:
        if not (self._predicted or self._thinks):
            return None
        details = v1.CompletionTokensDetails()
        if self._thinks:
            details.reasoning_tokens = self._record.reasoning_tokens
        if self._predicted:
            details.accepted_prediction_tokens = accepted = self._record.accepted_prediction_tokens
            details.rejected_prediction_tokens = self._predicted - accepted
        return details

    def _signed_seed(self) -> int:
        """Returns the 64-bit seed as a signed integer, as the API demands. A client can repeat the answer with it."""
        return self._seed - (1 << 64) if self._seed >> 63 else self._seed


def _function_call(call: CallPart) -> v1.FunctionCall:
    return v1.FunctionCall(name=call.name, arguments=call.arguments)


def _tool_call(call: CallPart) -> v1.ToolCall:
    return v1.ToolCall(id=call.id, type=v1.TOOL_TYPE_FUNCTION, function=_function_call(call))


def _fragments(part: CallPart, legacy: bool) -> Iterable[v1.Delta]:
    """Yields a fragment with id, type and name if `part` begins a call. Yields its arguments in a separate fragment."""
    if part.id:
        yield _fragment(part.index, v1.FunctionCall(name=part.name, arguments=""), legacy, part.id)
    if part.arguments:
        yield _fragment(part.index, v1.FunctionCall(arguments=part.arguments), legacy)


def _fragment(index: int, function: v1.FunctionCall, legacy: bool, identity: str = "") -> v1.Delta:
    if legacy:
        return v1.Delta(function_call=function)
    call = v1.ToolCallDelta(index=index, function=function)
    if identity:
        call.id, call.type = identity, v1.TOOL_TYPE_FUNCTION
    return v1.Delta(tool_calls=[call])
