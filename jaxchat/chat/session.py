"""Answers chat requests on an engine: protobuf in, protobuf out.

Runs on one asyncio loop. Tokenising and the compiling of grammars run in threads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any

from jaxchat import errors, v1
from jaxchat.chat.context import ModelInfo, Observer, OpenCalls, Record, RequestContext, outcome_of
from jaxchat.chat.grammar import GrammarCompiler
from jaxchat.chat.model import facts_about, model_of
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.request.params import choices
from jaxchat.chat.request.prepared import PreparedRequest, prepare
from jaxchat.chat.request.validate import validate
from jaxchat.chat.response.builder import ResponseBuilder
from jaxchat.chat.response.choice import ChoiceBuilder
from jaxchat.chat.response.stream import OutputStream
from jaxchat.config import ChatConfig
from jaxchat.engine.engine import Engine, EngineStats, EngineStopped, QueueFull
from jaxchat.engine.router import DataParallelEngine
from jaxchat.errors import ChatError
from jaxchat.types import GenerateRequest, TokenEvent


class ChatSession:
    """A session that serves one model.

    Call every method on the asyncio loop that ran `start`, and add `observers` before `start`.
    """

    def __init__(
        self,
        engine: Engine | DataParallelEngine,
        tokenizer: ChatTokenizer,
        template: ChatTemplate,
        info: ModelInfo,
        config: ChatConfig | None = None,
        compiles: Callable[[], int] = lambda: 0,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepares a session without starting anything.

        Args:
            engine: the engine, not started.
            tokenizer: the model's tokenizer, made for the chat template.
            template: the model's chat template.
            info: description of the model.
            config: limits and settings of the server.
            compiles: returns the number of programs compiled since the end of the warm-up.
            release: called once the engine has stopped.
        """
        self.info = info
        self.observers: list[Observer] = []
        self.failed = asyncio.Event()  # set once the engine has stopped by a failure
        self.engine = engine
        self._tokenizer = tokenizer
        self._template = template
        self._model = model_of(info, template)
        self._grammars = GrammarCompiler(tokenizer, info.logits, tool_format=template.tool_format)
        self._config = config or ChatConfig()
        self._compiles = compiles
        self._release = release
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="jaxchat-text")
        self._schemas = ThreadPoolExecutor(2, thread_name_prefix="jaxchat-schema")  # slow schemas must not delay text
        self._running: dict[int, OutputStream] = {}
        self._open = OpenCalls()
        self._draining = False

    @property
    def model_id(self) -> str:
        return self.info.id

    @property
    def ready(self) -> bool:
        """Whether new requests are accepted."""
        return self.engine.alive and not self._draining and not self.failed.is_set()

    @property
    def stop_tokens(self) -> frozenset[int]:
        """Ids of the tokens that end an answer."""
        return self._tokenizer.stop_tokens

    @property
    def stats(self) -> EngineStats:
        return self.engine.stats

    @property
    def compiles_after_ready(self) -> int:
        """Number of programs compiled since the warm-up. Any number above 0 is a bug."""
        return self._compiles()

    def forget_prefixes(self) -> None:
        """Drops the cached prefixes that no sequence uses, for example before a measurement."""
        self.engine.forget_prefixes()

    async def start(self) -> None:
        """Starts the engine. Its events are delivered to the running asyncio loop."""
        loop = asyncio.get_running_loop()

        def schedule(*call: Any) -> None:
            with suppress(RuntimeError):  # the loop may be closed, and then all readers are gone
                loop.call_soon_threadsafe(*call)

        self.engine.start(partial(schedule, self._route), partial(schedule, self._ended))

    async def drain(self, grace: float) -> None:
        """Rejects new requests, and waits at most `grace` seconds for the open ones to end."""
        self._draining = True
        await self._open.wait(grace)

    def fail(self) -> None:
        """Ends all requests with an error. Works even if the engine's thread hangs after the loss of a device."""
        self.failed.set()
        for run in self._running.values():
            run.fail(errors.engine_stopped())

    async def close(self) -> None:
        """Stops the engine after its current step, and waits for it. Unfinished requests fail with `ChatError`.

        After `fail`, or a failure of the engine, does not wait.
        """
        self._draining = True
        await asyncio.to_thread(self.engine.stop, 0.0 if self.failed.is_set() else None)
        self._release()
        await asyncio.to_thread(self._grammars.close)
        self._pool.shutdown()
        self._schemas.shutdown()

    async def models(self, call: RequestContext) -> list[v1.Model]:
        return [self._model]

    def summary(self) -> list[tuple[str, str]]:
        """Returns facts for the start-up message, as (name, value)."""
        return facts_about(self.info, self._template, self._tokenizer)

    async def complete(self, request: v1.ChatCompletionRequest, call: RequestContext) -> v1.ChatCompletion:
        """Returns the complete answer.

        Raises:
            ChatError: the request is rejected or fails.
        """
        record = _record(request, call, streamed=False)
        with self._observed(record):
            prepared = await self._prepare(request, streamed=False)
            generate = await self._generate(prepared)
            answer = ResponseBuilder(record, self.info.fingerprint_on(prepared.day), prepared)
            with self._submitted(prepared, generate, record) as run:
                deltas = [delta for _, delta in await run.take(complete=True)]
            return answer.completion(deltas)

    async def stream(
        self, request: v1.ChatCompletionRequest, call: RequestContext
    ) -> AsyncGenerator[v1.ChatCompletionChunk, None]:
        """Yields the answer as chunks.

        First come n chunks with the roles, then text, calls and end of each choice, and last the usage if requested.

        Text that arrives while the reader is busy is joined to one chunk, so a slow reader costs little memory.

        Raises:
            ChatError: the request is rejected, before the first chunk, or fails at any time.
        """
        record = _record(request, call, streamed=True)
        with self._observed(record):
            prepared = await self._prepare(request, streamed=True)
            generate = await self._generate(prepared)
            answer = ResponseBuilder(record, self.info.fingerprint_on(prepared.day), prepared)
            with self._submitted(prepared, generate, record) as run:
                deltas = await run.take()
                for index in range(record.choices):
                    yield answer.role_chunk(index)
                while True:
                    for index, delta in deltas:
                        for chunk in answer.chunks(index, delta):
                            yield chunk
                    if run.exhausted:
                        break
                    deltas = await run.take()
            if prepared.include_usage:
                yield answer.usage_chunk()

    @contextmanager
    def _observed(self, record: Record) -> Iterator[None]:
        """Updates `record`, the observers and the count of open requests, however the request ends."""
        self._open.enter()
        try:
            yield
            record.outcome, record.status = "completed", 200
        except ChatError as error:
            record.outcome, record.error, record.status = outcome_of(error), error.code or error.type, error.http_status
            raise
        except (asyncio.CancelledError, GeneratorExit):
            record.outcome, record.status = "cancelled", 499
            raise
        except BaseException:
            record.outcome, record.error, record.status = "failed", "internal_error", 500
            raise
        finally:
            record.seconds = time.monotonic() - record.started
            self._open.leave()
            for observer in self.observers:
                observer.finished(record)

    async def _prepare(self, request: v1.ChatCompletionRequest, *, streamed: bool) -> PreparedRequest:
        """Validates and interprets a request. Raises ChatError."""
        if self._draining:
            raise errors.draining()
        if not self.engine.alive or self.failed.is_set():
            raise errors.engine_stopped()
        tool_choice = validate(request, vocab_size=self.info.vocab, model_ids=(self.info.id,), streamed=streamed)
        interpret = partial(
            prepare,
            request,
            tool_choice,
            self._template,
            self._tokenizer,
            context=self.info.context,
            vocab=self.info.vocab,
            named_finish=self._config.named_tool_finish_reason,
        )
        return await asyncio.get_running_loop().run_in_executor(self._pool, interpret)

    async def _generate(self, prepared: PreparedRequest) -> GenerateRequest:
        """Returns the request for the engine, with its compiled grammar. Raises ChatError."""
        run, grammar = asyncio.get_running_loop().run_in_executor, None
        if prepared.constraint:
            grammar = await run(self._schemas, self._grammars.after_thoughts, prepared.constraint, prepared.thoughts)
        return GenerateRequest(
            prompt=prepared.prompt,
            max_tokens=self._max_tokens(prepared.max_tokens, prepared.min_tokens, len(prepared.prompt)),
            choices=prepared.choices,
            sampling=prepared.sampling,
            stop_tokens=prepared.stop_tokens,
            min_tokens=prepared.min_tokens,
            grammar=grammar,
            prediction=prepared.prediction,
            drafts=prepared.drafts,
        )

    def _max_tokens(self, limit: int | None, least: int, prompt: int) -> int:
        if prompt + (limit or least or 1) > self.info.context:
            raise errors.context_length_exceeded(self.info.context, prompt, limit or least or None)
        return limit or self.info.context - prompt

    @contextmanager
    def _submitted(
        self, prepared: PreparedRequest, generate: GenerateRequest, record: Record
    ) -> Iterator[OutputStream]:
        """Submits the request, and cancels it if its reader leaves before the end. Raises ChatError."""
        builders = [ChoiceBuilder(self._tokenizer, prepared.options, choice) for choice in range(prepared.choices)]
        number = self._submit(generate)

        def cancel(choice: int | None) -> None:
            self.engine.cancel(number, choice)

        run = OutputStream(builders, record, self.observers, cancel, self._config.max_buffered_bytes)
        self._running[number] = run
        try:
            with run.time_limit(self._config.request_timeout):
                yield run
        finally:
            del self._running[number]
            if not run.finished:
                cancel(None)

    def _submit(self, generate: GenerateRequest) -> int:
        try:
            return self.engine.submit(generate)
        except QueueFull:
            raise errors.queue_full(self.engine.stats.waiting, self.info.queue) from None
        except EngineStopped:
            raise errors.engine_stopped() from None

    def _route(self, events: list[TokenEvent]) -> None:
        """Passes the events of one step to their requests. Drops events of requests that have ended."""
        for number, group in groupby(events, attrgetter("request")):
            if run := self._running.get(number):
                run.feed(list(group))

    def _ended(self) -> None:
        if self.engine.failure:
            self.failed.set()


def _record(request: v1.ChatCompletionRequest, call: RequestContext, *, streamed: bool) -> Record:
    count, user = choices(request), request.user
    return Record(request_id=call.request_id, model=request.model, streamed=streamed, choices=count, user=user)
