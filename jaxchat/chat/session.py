"""Answers chat requests on an engine: protobuf in, protobuf out.

Runs on one asyncio loop. Tokenising and the compiling of grammars run in threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np

from jaxchat import errors, v1
from jaxchat.chat.capabilities import capabilities_of
from jaxchat.chat.context import ModelInfo, Observer, Record, RequestContext
from jaxchat.chat.generations import Generations
from jaxchat.chat.grammar import GrammarCompiler
from jaxchat.chat.grammar.constraint import OutputConstraint
from jaxchat.chat.model import facts_about, model_of
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.request.params import choices
from jaxchat.chat.request.prepared import PreparedRequest, prepare
from jaxchat.chat.request.validate import check_model, validate
from jaxchat.chat.response.builder import ResponseBuilder
from jaxchat.chat.response.choice import ChoiceBuilder
from jaxchat.chat.response.reasoning import ThoughtSplitter
from jaxchat.chat.text_completer import TextCompleter
from jaxchat.chat.token_ids import TokenIds
from jaxchat.config import ChatConfig
from jaxchat.engine.engine import Engine
from jaxchat.engine.router import DataParallelEngine
from jaxchat.engine.stats import EngineStats
from jaxchat.types import GenerateRequest, Grammar


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
        self.engine = engine
        self._tokenizer = tokenizer
        self._template = template
        self._models = [model_of(replace(info, id=name), template) for name in info.names]
        self._grammars = GrammarCompiler(tokenizer, info.logits, tool_format=template.tool_format)
        self._config = config or ChatConfig()
        self.generations = Generations(engine, self._config, info.queue)
        self._compiles = compiles
        self._release = release
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="jaxchat-text")
        # Separate threads, so that slow schemas do not delay text.
        self._schemas = ThreadPoolExecutor(2, thread_name_prefix="jaxchat-schema")
        self._capabilities: v1.Capabilities | None = None
        self._text = TextCompleter(self.generations, tokenizer, info, self._pool, self._compiled)
        self._token_ids = TokenIds(
            tokenizer, template, info, self._pool, chat_prompt=self._chat_prompt, text_prompts=self._text_prompts
        )

    @property
    def model_id(self) -> str:
        return self.info.id

    @property
    def observers(self) -> list[Observer]:
        """The observers of all requests. The list may be extended before `start`."""
        return self.generations.observers

    @property
    def failed(self) -> asyncio.Event:
        """An event that is set after the engine has failed."""
        return self.generations.failed

    @property
    def ready(self) -> bool:
        """Whether new requests are accepted."""
        return self.engine.alive and not self.generations.draining and not self.failed.is_set()

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
        self.generations.start()

    async def drain(self, grace: float) -> None:
        """Rejects new requests, and waits at most `grace` seconds until the open requests have ended."""
        await self.generations.drain(grace)

    def fail(self) -> None:
        """Ends all requests with an error. Works even if the engine's thread hangs after the loss of a device."""
        self.generations.fail()

    async def close(self) -> None:
        """Stops the engine after its current step, and waits until it has stopped.

        Unfinished requests fail with `ChatError`. Does not wait if `fail` was called or the engine has failed.
        """
        self.generations.draining = True
        await asyncio.to_thread(self.engine.stop, 0.0 if self.failed.is_set() else None)
        self._release()
        await asyncio.to_thread(self._grammars.close)
        self._pool.shutdown()
        self._schemas.shutdown()

    async def models(self, call: RequestContext) -> list[v1.Model]:
        """Returns one object for each name of the model. The first object has the name that answers have."""
        return list(self._models)

    def summary(self) -> list[tuple[str, str]]:
        """Returns facts for the start-up message, as (name, value)."""
        return facts_about(self.info, self._template, self._tokenizer)

    async def complete(self, request: v1.ChatCompletionRequest, call: RequestContext) -> v1.ChatCompletion:
        """Returns the complete answer.

        Raises:
            ChatError: the request is rejected or fails.
        """
        record = self._record(request, call, streamed=False)
        with self.generations.observed(record):
            prepared = await self._prepare(request, streamed=False)
            generate = await self._generate(prepared)
            answer = ResponseBuilder(record, self.info.fingerprint_on(prepared.day), prepared)
            with self.generations.run([generate], self._builders(prepared), record) as run:
                deltas = [delta for _, delta in await run.take(complete=True)]
            return answer.completion(deltas)

    async def stream(
        self, request: v1.ChatCompletionRequest, call: RequestContext
    ) -> AsyncGenerator[v1.ChatCompletionChunk, None]:
        """Yields the answer as chunks.

        The first chunks have the role, one chunk for each choice. The next chunks have the text, the calls and the end
        of each choice. If the usage is requested, the last chunk has it.

        Text that arrives while the reader is busy is joined into one chunk, so that a slow reader costs little memory.

        Raises:
            ChatError: the request is rejected before the first chunk, or fails at any time.
        """
        record = self._record(request, call, streamed=True)
        with self.generations.observed(record):
            prepared = await self._prepare(request, streamed=True)
            generate = await self._generate(prepared)
            answer = ResponseBuilder(record, self.info.fingerprint_on(prepared.day), prepared)
            with self.generations.run([generate], self._builders(prepared), record) as run:
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

    async def complete_text(self, request: v1.TextCompletionRequest, call: RequestContext) -> v1.TextCompletion:
        """Returns complete text completions. Raises `ChatError` if the request is rejected or fails."""
        return await self._text.complete(request, call)

    def stream_text(
        self, request: v1.TextCompletionRequest, call: RequestContext
    ) -> AsyncGenerator[v1.TextCompletion, None]:
        """Yields text completions in parts. Raises `ChatError` if the request is rejected or fails."""
        return self._text.stream(request, call)

    async def tokenize(self, request: v1.TokenizeRequest, call: RequestContext) -> v1.TokenizeResponse:
        """Returns the token ids of a text or of a conversation. Raises `ChatError` if the request is rejected."""
        return await self._token_ids.tokenize(request)

    async def detokenize(self, request: v1.DetokenizeRequest, call: RequestContext) -> v1.DetokenizeResponse:
        """Returns the text of token ids. Raises `ChatError` if the request is rejected."""
        return await self._token_ids.detokenize(request)

    async def render(self, request: v1.RenderRequest, call: RequestContext) -> v1.RenderResponse:
        """Returns the prompts that a completion would use. Raises `ChatError` if the completion would be rejected."""
        return await self._token_ids.render(request)

    async def capabilities(self, request: v1.GetCapabilitiesRequest, call: RequestContext) -> v1.Capabilities:
        """Returns the fields and values that requests may have. Raises `ChatError` if `model` is unknown."""
        if request.HasField("model"):
            check_model(request, self.info.names)
        if self._capabilities is None:
            describe = partial(capabilities_of, self.info, self._template, self._tokenizer)
            self._capabilities = await asyncio.get_running_loop().run_in_executor(self._pool, describe)
        return self._capabilities

    async def _chat_prompt(self, request: v1.ChatCompletionRequest) -> np.ndarray:
        prepared = await self._prepare(request, streamed=True)
        self._max_tokens(prepared.max_tokens, prepared.min_tokens, len(prepared.prompt))
        return prepared.prompt

    async def _text_prompts(self, request: v1.TextCompletionRequest) -> list[np.ndarray]:
        return [prompt.ids for prompt in (await self._text.prepare(request, streamed=True)).prompts]

    async def _prepare(self, request: v1.ChatCompletionRequest, *, streamed: bool) -> PreparedRequest:
        """Validates and interprets a request. Raises ChatError."""
        self.generations.check_accepting()
        tool_choice = validate(request, vocab_size=self.info.vocab, model_ids=self.info.names, streamed=streamed)
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
        grammar = await self._compiled(prepared.constraint, prepared.thoughts) if prepared.constraint else None
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

    async def _compiled(self, constraint: OutputConstraint, thoughts: ThoughtSplitter | None = None) -> Grammar:
        run = asyncio.get_running_loop().run_in_executor
        return await run(self._schemas, self._grammars.after_thoughts, constraint, thoughts)

    def _builders(self, prepared: PreparedRequest) -> list[ChoiceBuilder]:
        return [ChoiceBuilder(self._tokenizer, prepared.options, choice) for choice in range(prepared.choices)]

    def _max_tokens(self, limit: int | None, least: int, prompt: int) -> int:
        if prompt + (limit or least or 1) > self.info.context:
            raise errors.context_length_exceeded(self.info.context, prompt, limit or least or None)
        return limit or self.info.context - prompt

    def _record(self, request: v1.ChatCompletionRequest, call: RequestContext, *, streamed: bool) -> Record:
        model = self.info.id_of(request.model)
        return call.record("chat", model=model, streamed=streamed, choices=choices(request), user=request.user)
