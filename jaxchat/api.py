"""The engine in your own process: `jaxchat.load(...)` gives an object that is called like the `openai` client.

    chat = jaxchat.load()
    answer = chat.chat.completions.create(messages=[{"role": "user", "content": "Hello"}], seed=7)
    print(answer.choices[0].message.content)

Answers are the protobuf messages of `jaxchat.v1`; `model` may be left out.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from jaxchat import bundled, v1
from jaxchat.chat.call import Call
from jaxchat.chat.session import ChatSession, ModelInfo
from jaxchat.chat.template import load_template
from jaxchat.chat.tokenizer import load_tokenizer
from jaxchat.chat.wire import request_from_kwargs
from jaxchat.config import ChatConfig, DTypeName, EngineConfig
from jaxchat.engine.engine import Engine
from jaxchat.engine.scheduler import Scheduler
from jaxchat.errors import ModelError
from jaxchat.types import PodLeader, StepRunner

if TYPE_CHECKING:
    from jaxchat.runtime.costs import Estimate as Estimate
    from jaxchat.runtime.planning import Plan as Plan

T = TypeVar("T")
Report = Callable[[str, int, int], None]


def load(model: str = "bundled", **engine_options: Any) -> Chat:
    """Loads a model and starts its engine in a background thread.

    Args:
        model: "bundled", a directory in Hugging Face form, or a hub id such as "Qwen/Qwen2.5-0.5B-Instruct".
        engine_options: fields of `jaxchat.config.EngineConfig`.

    Raises:
        ModelError: the model cannot be loaded.
        ValueError: an option is out of range.
    """
    return Chat(load_session(model, EngineConfig(**engine_options)))


async def load_async(model: str = "bundled", **engine_options: Any) -> AsyncChat:
    """As `load`, for use on the running asyncio loop."""
    session = await asyncio.to_thread(load_session, model, EngineConfig(**engine_options))
    await session.start()
    return AsyncChat(session)


def plan(
    model: str,
    topology: str,
    *,
    slots: int = 64,
    context: int = 0,
    dtype: DTypeName = "bfloat16",
    compiled: bool = False,
) -> Plan:
    """What serving a model would need and reach on a slice of accelerators; see `jaxchat.runtime.planning`.

    Args:
        model: "bundled", a folder with `config.json` or such a file, or the name of a known shape as "llama-3-8b".
        topology: chips as "v5e:2x4" or "h200:8".
        slots: sequences that decode together.
        context: longest prompt plus answer in tokens; 0 takes the model's own limit, at most 8192.
        dtype: precision of weights and KV pages.
        compiled: also compiles the programs, which takes minutes and needs the TPU compiler.

    Raises:
        ModelError: no such model, or one that cannot be served.
        ValueError: no such topology, or sizes that do not fit the model.
    """
    from jaxchat.runtime.hardware import parse_topology  # these import jax
    from jaxchat.runtime.named import read_shape
    from jaxchat.runtime.planning import make_plan, suggested

    shape = read_shape(str(bundled.path()) if model == "bundled" else model)
    chips = parse_topology(topology)
    found = make_plan(shape, chips, suggested(chips, slots=slots, context=context, dtype=dtype))
    if not compiled:
        return found
    from jaxchat.runtime.ahead import refined

    return refined(found, shape)


def load_session(
    model: str,
    engine: EngineConfig,
    report: Report = lambda *_: None,
    chat: ChatConfig | None = None,
    pod: PodLeader | None = None,
) -> ChatSession:
    """Loads a model into a session that is ready but for `await session.start()`. Blocks for seconds or more.

    With `pod`, other processes hold a part of the model and run every step too, by `jaxchat.membership.follow`.
    """
    from jaxchat.runtime.distributed import join  # these import jax
    from jaxchat.runtime.load import load_runner
    from jaxchat.runtime.pods import LeadingRunner

    directory = find(model)
    tokenizer, template = load_tokenizer(directory), load_template(directory, (chat or ChatConfig()).tool_syntax)
    text_digest = hashlib.sha256((tokenizer.digest + template.source).encode()).hexdigest()
    agree = {}
    if pod:
        join(pod)
        agree["agree"] = pod.agree
    loaded = load_runner(directory, engine, valid=tokenizer.size, text_digest=text_digest, report=report, **agree)
    runner: StepRunner = loaded.runner
    if pod:
        runner = leading = LeadingRunner(runner, pod.send)
        pod.watch(leading.stuck)
    sizes = loaded.sizes
    scheduler = Scheduler(**loaded.scheduling)
    prefills, decodes = (", ".join(map(str, each)) for each in (loaded.runner.chunks, loaded.runner.shapes))
    facts = (
        ("parameters", f"{loaded.parameters / 1e6:,.1f} M {engine.dtype}"),
        ("devices", loaded.device),
        ("attention", loaded.attention),
        ("products", loaded.products),
        ("context", f"{sizes.context} tokens"),
        ("slots", f"{sizes.slots} sequences decode together, {engine.queue} may queue"),
        ("KV pages", f"{sizes.pages - 1} of {sizes.page_size} tokens"),
        (
            "programs",
            f"prefill of {prefills} tokens, decode of {decodes} rows ({engine.determinism})",
        ),
    )
    info = ModelInfo(
        id=model_id(model),
        created=int((directory / "config.json").stat().st_mtime),
        vocab=min(tokenizer.size, loaded.model.vocab_size),
        logits=sizes.vocab,
        context=sizes.context,
        queue=engine.queue,
        fingerprint=loaded.fingerprint,
        facts=facts,
    )
    return ChatSession(
        Engine(runner, scheduler, queue_limit=engine.queue),
        tokenizer,
        template,
        info,
        chat,
        compiles=lambda: loaded.runner.compiles_after_ready,
    )


def convert(
    source: str, destination: Path, *, dtype: DTypeName | None = None, report: Report = lambda *_: None
) -> DTypeName:
    """Writes a model in Orbax form to a new directory; see `jaxchat.models.converting`. Returns the weights' dtype.

    Raises:
        ModelError: the source cannot be loaded, or there is something at the destination.
    """
    from jaxchat.models.converting import convert as write  # imports jax

    def progress(done: int, total: int) -> None:
        report("reading weights", done, total)

    return write(find(source), destination.expanduser(), dtype=dtype, progress=progress)


def find(model: str) -> Path:
    """The directory of a model. Raises ModelError when there is none."""
    if model == "bundled":
        return bundled.path()
    directory = Path(model).expanduser()
    if directory.is_dir():
        return directory
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise ModelError(f"{model}: no such directory, and not a hub id of the form owner/name")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ModelError(f"{model}: fetching from the hub needs `pip install 'jaxchat[hub]'`") from None
    try:
        return Path(snapshot_download(model, allow_patterns=["*.json", "*.safetensors", "*.jinja"]))
    except Exception as error:  # the hub client raises many kinds; none is a bug of ours
        raise ModelError(f"{model}: no such directory, and the hub did not provide it ({error})") from None


def model_id(model: str) -> str:
    """The id under which a model is served: "jaxchat-bundled", a hub id, or the name of the directory."""
    if model == "bundled":
        return "jaxchat-bundled"
    directory = Path(model).expanduser()
    return directory.resolve().name if directory.is_dir() else model


class AsyncChat:
    """`await chat.chat.completions.create(...)` on the loop that made it."""

    def __init__(self, session: ChatSession) -> None:
        self.session = session
        self.chat = _Namespace(_AsyncCompletions(session))

    async def close(self) -> None:
        await self.session.close()

    async def __aenter__(self) -> AsyncChat:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Chat:
    """`chat.chat.completions.create(...)` from ordinary code; the session runs on a loop in its own thread."""

    def __init__(self, session: ChatSession) -> None:
        self.session = session
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="jaxchat-loop", daemon=True)
        self._thread.start()
        self._run(session.start())
        self.chat = _Namespace(_Completions(session, self._run))

    def close(self) -> None:
        """Stops the engine and the thread. Later calls fail."""
        if self._thread.is_alive():
            self._run(self.session.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def __enter__(self) -> Chat:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C in a notebook must end the request, not only the wait
            future.cancel()
            raise


class _Namespace:
    """The `chat` of `chat.chat.completions`."""

    def __init__(self, completions: Any) -> None:
        self.completions = completions


class _AsyncCompletions:
    def __init__(self, session: ChatSession) -> None:
        self._session = session

    async def create(self, **kwargs: Any) -> v1.ChatCompletion | AsyncIterator[v1.ChatCompletionChunk]:
        """Arguments as in the OpenAI API. Raises ChatError."""
        parsed = request_from_kwargs(**{"model": self._session.model_id, **kwargs})
        if parsed.stream:
            return self._session.stream(parsed.request, Call(request_id="in-process"))
        return await self._session.complete(parsed.request, Call(request_id="in-process"))


class _Completions:
    def __init__(self, session: ChatSession, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._asynchronous = _AsyncCompletions(session)
        self._run = run

    def create(self, **kwargs: Any) -> Any:
        """Arguments as in the OpenAI API: a `ChatCompletion`, or with `stream=True` an iterator of chunks."""
        answer = self._run(self._asynchronous.create(**kwargs))
        return answer if isinstance(answer, v1.ChatCompletion) else self._chunks(answer)

    def _chunks(self, stream: Any) -> Iterator[v1.ChatCompletionChunk]:
        async def advance() -> v1.ChatCompletionChunk | None:
            return await anext(stream, None)

        try:
            while (chunk := self._run(advance())) is not None:
                yield chunk
        finally:
            self._run(stream.aclose())
