"""Answers text completions on an engine: protobuf in, protobuf out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Executor
from functools import partial

from jaxchat import v1
from jaxchat.chat.context import ModelInfo, Record, RequestContext
from jaxchat.chat.generations import Generations
from jaxchat.chat.grammar.constraint import OutputConstraint
from jaxchat.chat.grammar.forced_tokens import scoring_request
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.request.prepared_text import PreparedText, prepare_text
from jaxchat.chat.request.validate_text import ECHO_NEEDS_RAW, validate_text
from jaxchat.chat.response.choice import ChoiceBuilder, ChoiceDelta
from jaxchat.chat.response.text_builder import Entries, TextBuilder, prompt_entries
from jaxchat.errors import unsupported
from jaxchat.types import Grammar

_NOTHING_ENDS = ("length",)  # the finish reason of a completion with a `max_tokens` of 0
Compile = Callable[[OutputConstraint], Awaitable[Grammar]]


class TextCompleter:
    """The text completions of a session.

    Args:
        generations: runs requests on the session's engine.
        tokenizer: the model's tokenizer.
        info: description of the model.
        pool: runs functions that block, such as the tokenizer.
        compile: returns the grammar of a constraint.
    """

    def __init__(
        self, generations: Generations, tokenizer: ChatTokenizer, info: ModelInfo, pool: Executor, compile: Compile
    ) -> None:
        self._generations, self._tokenizer, self._info = generations, tokenizer, info
        self._pool, self._compile = pool, compile

    async def complete(self, request: v1.TextCompletionRequest, call: RequestContext) -> v1.TextCompletion:
        """Returns the complete answer.

        Raises:
            ChatError: the request is rejected or fails.
        """
        record = self._record(request, call, streamed=False)
        with self._generations.observed(record):
            prepared = await self.prepare(request, streamed=False)
            grammar = await self._grammar(prepared)
            answer = await self._builder(prepared, record)
            if not prepared.generates:
                record.finish_reasons = _NOTHING_ENDS * record.choices
                return answer.completion([_nothing() for _ in range(record.choices)])
            requests = prepared.generate_requests(grammar)
            with self._generations.run(requests, self._choices(prepared), record) as run:
                deltas = [delta for _, delta in await run.take(complete=True)]
            return answer.completion(deltas)

    async def stream(
        self, request: v1.TextCompletionRequest, call: RequestContext
    ) -> AsyncGenerator[v1.TextCompletion, None]:
        """Yields the answer in parts. Each part has new output of one choice.

        If the usage is requested, one more part at the end has it.

        Raises:
            ChatError: the request is rejected before the first part, or fails at any time.
        """
        record = self._record(request, call, streamed=True)
        with self._generations.observed(record):
            prepared = await self.prepare(request, streamed=True)
            grammar = await self._grammar(prepared)
            answer = await self._builder(prepared, record)
            begun: set[int] = set()
            if not prepared.generates:
                record.finish_reasons = _NOTHING_ENDS * record.choices
                for index in range(record.choices):
                    yield answer.part(index, _nothing(), first=True)
            else:
                requests = prepared.generate_requests(grammar)
                with self._generations.run(requests, self._choices(prepared), record) as run:
                    while not run.exhausted:
                        for index, delta in await run.take():
                            if not delta.empty:
                                yield answer.part(index, delta, first=index not in begun)
                                begun.add(index)
            if prepared.include_usage:
                yield answer.usage_part()

    async def prepare(self, request: v1.TextCompletionRequest, *, streamed: bool) -> PreparedText:
        """Validates and interprets a request. Raises `ChatError` if the request is rejected."""
        self._generations.check_accepting()
        info = self._info
        settings = validate_text(request, vocab_size=info.vocab, model_ids=info.names, streamed=streamed)
        if request.echo and request.HasField("logprobs") and not info.raw_logprobs:
            raise unsupported("echo", ECHO_NEEDS_RAW)
        interpret = partial(prepare_text, request, settings, self._tokenizer, context=info.context, vocab=info.vocab)
        return await asyncio.get_running_loop().run_in_executor(self._pool, interpret)

    async def _grammar(self, prepared: PreparedText) -> Grammar | None:
        return await self._compile(prepared.constraint) if prepared.constraint else None

    async def _builder(self, prepared: PreparedText, record: Record) -> TextBuilder:
        entries = await self._prompt_entries(prepared, record) if prepared.echo else []
        return TextBuilder(record, self._info.fingerprint, prepared, entries)

    async def _prompt_entries(self, prepared: PreparedText, record: Record) -> list[Entries]:
        """Computes the log-probabilities of the prompts' tokens, if they are requested.

        Raises:
            ChatError: in the same cases as in `Generations.collect`.
        """
        if (top := prepared.logprobs) is None:
            return []
        long = [prompt.ids for prompt in prepared.prompts if len(prompt.ids) > 1]
        scores = iter(await self._generations.collect([*map(scoring_request, long)], record) if long else ())
        record.scored_tokens = sum(map(len, long))
        return [
            prompt_entries(prompt, next(scores) if len(prompt.ids) > 1 else (), top, self._tokenizer)
            for prompt in prepared.prompts
        ]

    def _choices(self, prepared: PreparedText) -> list[ChoiceBuilder]:
        return [
            ChoiceBuilder(self._tokenizer, options)
            for place in range(len(prepared.prompts))
            for options in [prepared.choice_options(place, self._tokenizer)] * prepared.choices
        ]

    def _record(self, request: v1.TextCompletionRequest, call: RequestContext, *, streamed: bool) -> Record:
        count = max(1, len(request.prompt)) * (request.n if request.HasField("n") else 1)
        model = self._info.id_of(request.model)
        return call.record("text_completion", model=model, streamed=streamed, choices=count, user=request.user)


def _nothing() -> ChoiceDelta:
    """Returns the output of a completion with a `max_tokens` of 0."""
    return ChoiceDelta(finish=v1.FINISH_REASON_LENGTH)
