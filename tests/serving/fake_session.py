"""A chat session without a model. It answers with the words of the last message, and implements the session's
interface.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from types import SimpleNamespace

from jaxchat import v1
from jaxchat.chat.context import ModelInfo, Observer, RequestContext
from jaxchat.chat.request.validate import check_model, validate
from jaxchat.chat.request.validate_text import validate_text
from jaxchat.errors import draining, internal, not_ready, numerical_error, queue_full

MODEL = "fake"


class FakeSession:
    """A session that the last message controls: `hang` never ends, `tear` fails midway, and `full` is rejected."""

    def __init__(self, model: str = MODEL, other_names: tuple[str, ...] = ()) -> None:
        self.model_id = model
        self.ready = False
        self.draining = False
        self.failed = asyncio.Event()
        self.observers: list[Observer] = []
        self.running = 0
        self.stats = SimpleNamespace(
            waiting=3,
            running=2,
            pages_in_use=5,
            pages=20,
            preemptions=0,
            drafts=0,
            accepted_drafts=0,
            prefix_queries=0,
            prefix_hits=0,
            tokens=0,
            step_tokens={1: 0, 8: 0, math.inf: 0},
        )
        self.info = ModelInfo(
            id=model,
            other_names=other_names,
            created=1,
            vocab=100,
            logits=128,
            context=4096,
            queue=4,
            fingerprint="fp_0123456789",
            block_size=32,
            blocks=10,
            backend="cpu",
        )
        self.compiles_after_ready = 0
        self.requests: list[v1.ChatCompletionRequest] = []
        self.request_ids: list[str] = []
        self.calls: list[RequestContext] = []
        self.changed = asyncio.Condition()

    async def models(self, call: RequestContext) -> list[v1.Model]:
        return [v1.Model(id=name, created=1, owned_by="tests") for name in self.info.names]

    async def start(self) -> None:
        self.ready = True

    def fail(self) -> None:
        self.failed.set()

    def summary(self) -> list[tuple[str, str]]:
        return [("model", self.model_id)]

    async def drain(self, shutdown_grace: float) -> None:
        self.draining, self.ready = True, False
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.until_running(0), shutdown_grace)

    async def close(self) -> None:
        self.ready = False

    async def until_running(self, count: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.running == count)

    async def _run(self, delta: int) -> None:
        async with self.changed:
            self.running += delta
            self.changed.notify_all()

    def _accept(self, request: v1.ChatCompletionRequest, request_id: str, *, streamed: bool) -> str:
        if self.draining:
            raise draining()
        if not self.ready:
            raise not_ready()
        validate(request, vocab_size=100, model_ids=self.info.names, streamed=streamed)
        self.requests.append(request)
        self.request_ids.append(request_id)
        text = request.messages[-1].text
        if text == "full":
            raise queue_full(4, 4, retry_after=0.001)
        if text == "nan":
            raise numerical_error()
        if text == "bug":
            raise KeyError("secret")
        return text

    async def complete(self, request: v1.ChatCompletionRequest, call: RequestContext) -> v1.ChatCompletion:
        answer = v1.ChatCompletion(id="chatcmpl-1", created=1, model=self.model_id, system_fingerprint="fp_0123456789")
        for i in range(request.n or 1):
            answer.choices.add(index=i).message.content = ""
        async for chunk in self._chunks(request, call, streamed=False):
            answer.seed_used = chunk.seed_used
            for part in chunk.choices:
                choice = answer.choices[part.index]
                choice.message.content += part.delta.content
                choice.finish_reason = part.finish_reason or choice.finish_reason
                if part.HasField("logprobs"):
                    choice.logprobs.content.extend(part.logprobs.content)
        words = len(request.messages[-1].text.split())
        answer.usage.CopyFrom(_usage(words, words))
        return answer

    def stream(self, request: v1.ChatCompletionRequest, call: RequestContext) -> AsyncIterator[v1.ChatCompletionChunk]:
        return self._chunks(request, call, streamed=True)

    async def complete_text(self, request: v1.TextCompletionRequest, call: RequestContext) -> v1.TextCompletion:
        (answer,) = [part async for part in self.stream_text(request, call)]
        answer.usage.CopyFrom(_usage(1, 1))
        return answer

    async def stream_text(
        self, request: v1.TextCompletionRequest, call: RequestContext
    ) -> AsyncIterator[v1.TextCompletion]:
        validate_text(request, vocab_size=100, model_ids=self.info.names)
        choice = v1.TextChoice(text=request.prompt[0].text, finish_reason=v1.FINISH_REASON_STOP)
        yield v1.TextCompletion(id="cmpl-1", created=1, model=self.model_id, choices=[choice], seed_used=-7)

    async def tokenize(self, request: v1.TokenizeRequest, call: RequestContext) -> v1.TokenizeResponse:
        if request.model:
            check_model(request, self.info.names)
        return v1.TokenizeResponse(count=1, max_model_len=100, tokens=[len(request.prompt)])

    async def detokenize(self, request: v1.DetokenizeRequest, call: RequestContext) -> v1.DetokenizeResponse:
        return v1.DetokenizeResponse(prompt="x" * request.tokens[0])

    async def render(self, request: v1.RenderRequest, call: RequestContext) -> v1.RenderResponse:
        return v1.RenderResponse(prompts=[v1.TokenIds(ids=[len(request.chat.messages), len(request.text.prompt)])])

    async def capabilities(self, request: v1.GetCapabilitiesRequest, call: RequestContext) -> v1.Capabilities:
        if request.HasField("model"):
            check_model(request, self.info.names)
        return v1.Capabilities(model=self.model_id)

    async def _chunks(
        self, request: v1.ChatCompletionRequest, call: RequestContext, *, streamed: bool
    ) -> AsyncIterator[v1.ChatCompletionChunk]:
        self.calls.append(call)
        text = self._accept(request, call.request_id, streamed=streamed)
        n = request.n if request.HasField("n") else 1
        await self._run(+1)
        try:
            for i in range(n):
                yield self._chunk(v1.ChunkChoice(index=i, delta=v1.Delta(role=v1.ROLE_ASSISTANT, content="")))
            if text == "hang":
                await asyncio.Event().wait()
            for word in text.split(" "):
                for i in range(n):
                    yield self._chunk(_content(i, f"{word} ", request.logprobs))
                if word == "tear":
                    raise internal("torn")
            for i in range(n):
                yield self._chunk(v1.ChunkChoice(index=i, delta=v1.Delta(), finish_reason=v1.FINISH_REASON_STOP))
            if request.stream_options.include_usage:
                last = self._chunk()
                last.usage.CopyFrom(_usage(1, 1))
                yield last
        finally:
            await asyncio.shield(self._run(-1))

    def _chunk(self, *choices: v1.ChunkChoice) -> v1.ChatCompletionChunk:
        return v1.ChatCompletionChunk(
            id="chatcmpl-1",
            created=1,
            model=self.model_id,
            system_fingerprint="fp_0123456789",
            choices=choices,
            seed_used=-7,
        )


def _content(index: int, text: str, logprobs: bool) -> v1.ChunkChoice:
    choice = v1.ChunkChoice(index=index, delta=v1.Delta(content=text))
    if logprobs:
        choice.logprobs.content.add(token=text, logprob=-0.5, bytes=text.encode(), token_id=3)
    return choice


def _usage(prompt: int, completion: int) -> v1.Usage:
    return v1.Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)
