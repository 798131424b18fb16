"""Chat requests on an engine: protobuf in, protobuf out. Everything runs on one asyncio loop but the tokenising."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass

from jaxchat import errors, v1
from jaxchat.chat import assemble
from jaxchat.chat.choice import ChoiceBuilder, Delta
from jaxchat.chat.options import choice_options, choices, sampling
from jaxchat.chat.prompt import prompt_tokens
from jaxchat.chat.template import ChatTemplate
from jaxchat.chat.tokenizer import ChatTokenizer
from jaxchat.chat.validate import completes_whole, validate
from jaxchat.engine.engine import Engine, EngineStats, EngineStopped, QueueFull
from jaxchat.types import GenerateRequest, TokenEvent


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What is said about the served model."""

    id: str
    created: int  # Unix seconds
    vocab: int
    context: int
    queue: int
    fingerprint: str
    facts: tuple[tuple[str, str], ...] = ()


@dataclass
class _Running:
    """A request inside the engine: its choices and the events that have not been looked at."""

    builders: list[ChoiceBuilder]
    events: deque[TokenEvent]
    wake: asyncio.Event


class ChatSession:
    """Serves one model. Call every method on the loop that ran `start`."""

    def __init__(self, engine: Engine, tokenizer: ChatTokenizer, template: ChatTemplate, info: ModelInfo) -> None:
        self.info = info
        self._engine = engine
        self._tokenizer = tokenizer
        self._template = template
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="jaxchat-text")
        self._running: dict[int, _Running] = {}
        self._preparing = 0
        self._draining = False

    @property
    def model_id(self) -> str:
        return self.info.id

    @property
    def ready(self) -> bool:
        """Takes new requests."""
        return self._engine.alive and not self._draining

    @property
    def stop_tokens(self) -> frozenset[int]:
        """Ids of the tokens that end an answer."""
        return self._tokenizer.stop_tokens

    @property
    def stats(self) -> EngineStats:
        return self._engine.stats

    async def start(self) -> None:
        """Starts the engine; its events come to the running loop."""
        loop = asyncio.get_running_loop()

        def deliver(events: list[TokenEvent]) -> None:
            loop.call_soon_threadsafe(self._route, events)

        self._engine.start(deliver)

    async def drain(self, grace: float) -> None:
        """Refuses new requests and waits up to `grace` seconds for the running ones."""
        self._draining = True
        end = time.monotonic() + grace
        while (self._running or self._preparing) and time.monotonic() < end:
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Stops the engine; requests that still run fail."""
        self._draining = True
        await asyncio.to_thread(self._engine.stop)
        self._pool.shutdown()

    def models(self) -> list[v1.Model]:
        return [v1.Model(id=self.info.id, created=self.info.created, owned_by="jaxchat")]

    def summary(self) -> list[tuple[str, str]]:
        """Facts for the start-up message, as (name, value)."""
        return [("model", self.info.id), *self.info.facts, ("fingerprint", self.info.fingerprint)]

    async def complete(self, request: v1.ChatCompletionRequest, *, request_id: str) -> v1.ChatCompletion:
        """The whole answer.

        Raises:
            ChatError: the request is refused, or fails.
        """
        completes_whole(request)
        answer = assemble.Answer(request.model, self.info.fingerprint)
        whole = [Delta() for _ in range(choices(request))]
        async with aclosing(self._generate(request, answer)) as steps:
            async for deltas in steps:
                for index, delta in deltas:
                    whole[index].add(delta)
        return answer.completion(whole, request.logprobs)

    async def stream(
        self, request: v1.ChatCompletionRequest, *, request_id: str
    ) -> AsyncGenerator[v1.ChatCompletionChunk, None]:
        """The answer as chunks: n role chunks, then each choice's text, calls and end, then usage if asked for.

        Tokens that arrive while the reader is busy are joined, so a slow reader costs no memory and no order.

        Raises:
            ChatError: before the first chunk when the request is refused; later when it fails.
        """
        answer = assemble.Answer(request.model, self.info.fingerprint)
        begun = False
        async with aclosing(self._generate(request, answer)) as steps:
            async for deltas in steps:
                if not begun:
                    begun = True
                    for index in range(choices(request)):
                        yield answer.role_chunk(index)
                for index, delta in deltas:
                    for chunk in answer.chunks(index, delta, request.logprobs):
                        yield chunk
        if request.stream_options.include_usage:
            yield answer.usage_chunk()

    async def _generate(
        self, request: v1.ChatCompletionRequest, answer: assemble.Answer
    ) -> AsyncGenerator[list[tuple[int, Delta]], None]:
        """Runs a request; yields what is new of each choice until all have finished, and fills in `answer`'s counts."""
        generate = await self._prepare(request)
        answer.prompt_tokens, answer.seed = len(generate.prompt), generate.sampling.seed
        options = choice_options(request)
        builders = [ChoiceBuilder(self._tokenizer, options) for _ in range(generate.choices)]
        run = _Running(builders, deque(), asyncio.Event())
        number = self._submit(generate)
        self._running[number] = run
        try:
            while not all(builder.finished for builder in builders):
                await run.wake.wait()
                run.wake.clear()
                deltas = self._advance(number, run)
                answer.completion_tokens = sum(builder.tokens for builder in builders)
                yield deltas
        finally:
            del self._running[number]
            if not all(builder.finished for builder in builders):
                self._engine.cancel(number)

    async def _prepare(self, request: v1.ChatCompletionRequest) -> GenerateRequest:
        """Validates and tokenises. Raises ChatError."""
        if self._draining:
            raise errors.draining()
        if not self._engine.alive:
            raise errors.overloaded("The engine has stopped.")
        validate(request, vocab_size=self.info.vocab, model_ids=(self.info.id,))
        self._preparing += 1
        try:
            work = asyncio.get_running_loop().run_in_executor(
                self._pool, prompt_tokens, request, self._template, self._tokenizer
            )
            prompt = await work
        finally:
            self._preparing -= 1
        return GenerateRequest(
            prompt=prompt,
            max_tokens=self._max_tokens(request, len(prompt)),
            choices=choices(request),
            sampling=sampling(request),
            stop_tokens=self._tokenizer.stop_tokens,
        )

    def _max_tokens(self, request: v1.ChatCompletionRequest, prompt: int) -> int:
        name = next((name for name in ("max_tokens", "max_completion_tokens") if request.HasField(name)), None)
        wanted = getattr(request, name) if name else None
        if prompt + (wanted or 1) > self.info.context:
            raise errors.context_length_exceeded(self.info.context, prompt, wanted)
        return wanted or self.info.context - prompt

    def _submit(self, generate: GenerateRequest) -> int:
        try:
            return self._engine.submit(generate)
        except QueueFull:
            raise errors.queue_full(self._engine.stats.waiting, self.info.queue) from None
        except EngineStopped:
            raise errors.overloaded("The engine has stopped.") from None

    def _route(self, events: list[TokenEvent]) -> None:
        """Hands each event to its request; those of requests that have left are dropped."""
        for event in events:
            if run := self._running.get(event.request):
                run.events.append(event)
                run.wake.set()

    def _advance(self, number: int, run: _Running) -> list[tuple[int, Delta]]:
        """Feeds all that has arrived, and returns what became visible."""
        touched: set[int] = set()
        while run.events:
            event = run.events.popleft()
            if event.finish == "numerical_error":
                raise errors.numerical_error()
            if event.finish == "engine_failure":
                raise errors.overloaded("The engine has stopped.")
            builder = run.builders[event.choice]
            if builder.finished:
                continue
            builder.feed(event)
            touched.add(event.choice)
            if builder.finished and not event.finish:
                self._engine.cancel(number, event.choice)
        return [(index, run.builders[index].take()) for index in sorted(touched)]
