"""The engine in your own process: `jaxchat.load(...)` returns a client that is called like the `openai` client.

    client = jaxchat.load()
    answer = client.chat.completions.create(messages=[{"role": "user", "content": "Hello"}], seed=7)
    print(answer.choices[0].message.content)

Requests need not name a `model`.
"""

from __future__ import annotations

import asyncio
import hashlib
import warnings
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxchat import bundled
from jaxchat.chat.context import ModelInfo
from jaxchat.chat.prompt.template_files import load_template
from jaxchat.chat.prompt.template_variables import day_source
from jaxchat.chat.prompt.tokenizer import load_tokenizer, missing_tokens
from jaxchat.chat.response.reasoning import check_markers
from jaxchat.chat.session import ChatSession
from jaxchat.checkpoints.find_model import check_model as check_model
from jaxchat.checkpoints.stored_form import CHECKPOINT_FORMS
from jaxchat.client import AsyncClient, Client
from jaxchat.client.local import AsyncLocalTransport, LocalTransport
from jaxchat.config import ChatConfig, DTypeName, EngineConfig, KVDTypeName, Quantize
from jaxchat.engine.engine import Engine
from jaxchat.engine.router import DataParallelEngine
from jaxchat.engine.scheduler import Scheduler
from jaxchat.errors import safe_repr
from jaxchat.model_directory import model_id
from jaxchat.progress import loading_report
from jaxchat.settings import check_names
from jaxchat.types import MultihostLeader, Report, StepRunner

if TYPE_CHECKING:
    from jaxchat.planning.cost_model import Estimate as Estimate
    from jaxchat.planning.planner import Plan as Plan


def load(
    model: str = "bundled", *, progress: bool | Report = True, config: EngineConfig | None = None, **settings: Any
) -> Client:
    """Loads a model and starts its engine in a background thread.

    Changes no process-wide setting permanently: `close` of the client undoes what loading registered with jax.

    Args:
        model: "bundled", a model directory, a GGUF file, or a hub id such as "Qwen/Qwen2.5-0.5B-Instruct". A directory
            is in Hugging Face format, was written by `convert`, or holds one GGUF file.
        progress: True to show bars in a notebook or at a terminal, False for no output, or a function that is called as
            `report(stage, done, total)`.
        config: settings of the engine.
        settings: fields of `EngineConfig` or `ChatConfig`, such as `template_date`. Fields of `EngineConfig` override
            `config`.

    Raises:
        ModelError: the model cannot be loaded.
        OSError: `cache_dir` names a folder that cannot be written.
        TypeError: a setting does not exist, or its value has the wrong type.
        ValueError: a value is not allowed, a name is not registered, or sizes or devices do not fit the model. Also
            raised if `determinism` is "exact" and answers could depend on the copy of the model, the slot or other
            prompts.
    """
    return Client(LocalTransport(_load(model, progress, config, settings)))


async def load_async(
    model: str = "bundled", *, progress: bool | Report = True, config: EngineConfig | None = None, **settings: Any
) -> AsyncClient:
    """Loads a model in another thread, and returns a client that belongs to the running asyncio loop.

    Arguments and errors are those of `load`.
    """
    session = await asyncio.to_thread(_load, model, progress, config, settings)
    await session.start()
    return AsyncClient(AsyncLocalTransport(session))


def _load(model: str, progress: bool | Report, config: EngineConfig | None, settings: dict[str, Any]) -> ChatSession:
    names = {each: [field.name for field in fields(each)] for each in (EngineConfig, ChatConfig)}
    check_names(settings, [name for known in names.values() for name in known])
    engine_settings, chat_settings = (
        {name: settings[name] for name in settings if name in known} for known in names.values()
    )
    engine = replace(config, **engine_settings) if config else EngineConfig(**engine_settings)
    chat = ChatConfig(**chat_settings)
    with loading_report(progress) as report:
        return load_session(model, engine, report, chat)


def plan(
    model: str,
    topology: str,
    *,
    slots: int = 64,
    max_seq_len: int | None = None,
    dtype: DTypeName = "bfloat16",
    kv_dtype: KVDTypeName | None = None,
    quantize: Quantize | None = None,
    compiled: bool = False,
) -> Plan:
    """Estimates memory and speed of a model on a slice of accelerators; see `jaxchat.planning.planner`.

    Args:
        model: "bundled", a `config.json` or a folder with one, a GGUF file, or a known shape such as "llama-3-8b".
        topology: the slice, such as "v5e:2x4" or "h200:8".
        slots: sequences that decode together.
        max_seq_len: longest prompt plus answer in tokens; None: the model's own limit, but not more than 8192.
        dtype: precision of weights and KV pages.
        kv_dtype: "int8" rounds keys and values to 8 bits; None: as `dtype`.
        quantize: "int8" or "int4" rounds weights; None: as stored, according to `config.json` or the GGUF file.
        compiled: whether to compile the programs too, and use the compiler's figures. Takes minutes; for TPUs only.

    Raises:
        ModelError: the model does not exist or cannot be served.
        TypeError: a size has the wrong type.
        ValueError: the topology does not exist, a value is not allowed, or sizes do not fit the model. Also raised if
            `compiled` is set and the chips are not TPUs or the TPU compiler is missing.
    """
    from jaxchat.planning.hardware import parse_topology  # these import jax
    from jaxchat.planning.model_shapes import read_model
    from jaxchat.planning.planner import make_plan, suggest_config

    shape, stored = read_model(str(bundled.path()) if model == "bundled" else model)
    chips = parse_topology(topology)
    engine = suggest_config(
        chips, slots=slots, max_seq_len=max_seq_len, dtype=dtype, kv_dtype=kv_dtype, quantize=quantize
    )
    found = make_plan(shape, chips, engine, stored)
    if not compiled:
        return found
    from jaxchat.planning.aot import refine

    return refine(found, shape, stored)


def load_session(
    model: str,
    engine: EngineConfig,
    report: Report = lambda *_: None,
    chat: ChatConfig | None = None,
    leader: MultihostLeader | None = None,
    *,
    tune_process: bool = False,
) -> ChatSession:
    """Loads a model and returns a session, whose `start` must be awaited before use.

    Blocks for seconds, at the first start for about a minute.

    Args:
        model: "bundled", a model directory, a GGUF file, or a hub id.
        engine: settings of the engine.
        report: called as `report(stage, done, total)` while the model loads.
        chat: settings of chat requests; None for the defaults.
        leader: sends every step to the followers of a multihost group; None for a process that serves alone.
        tune_process: whether to change the C library's allocator permanently; for processes that only serve.

    Raises:
        ModelError: the model cannot be loaded.
        MultihostError: a process of the group does not join, differs from the others or is lost.
        OSError: `engine.cache_dir` names a folder that cannot be written.
        ValueError: a name is not registered, or sizes or devices do not fit the model. Also raised if
            `engine.determinism` is "exact" and answers could depend on the copy of the model, the slot or other
            prompts.
    """
    from jaxchat.parallel.distributed import join  # these import jax
    from jaxchat.runtime.load import load_runner
    from jaxchat.runtime.multihost import LeadingRunner

    directory = check_model(model, engine.cache_dir)
    chat = chat or ChatConfig()
    template = load_template(
        directory, chat.tool_format, chat.reasoning_format, chat.template_kwargs, day_source(chat.fixed_day)
    )
    tokenizer = load_tokenizer(directory, template)
    check_markers(template.reasoning_format, chat.reasoning_format, tokenizer)
    if not tokenizer.stop_tokens:
        warnings.warn(f"{directory}: no file names a stop token, so answers end at max_tokens only", stacklevel=2)
    text_digest = hashlib.sha256((tokenizer.digest + template.digest).encode()).hexdigest()
    agree: dict[str, Any] = {}
    if leader:
        join(leader)
        agree["agree"] = leader.agree
    loaded = load_runner(
        directory,
        engine,
        valid=tokenizer.size,
        text_digest=text_digest,
        report=report,
        tune_process=tune_process,
        **agree,
    )
    vocab = loaded.model.vocab_size
    if missing := missing_tokens(tokenizer, template, vocab):
        names = safe_repr(list(missing.values()))
        warnings.warn(
            f"{directory}: the tokenizer has {tokenizer.size} token ids, the model {vocab}: "
            f"prompts that hold one of {names} are refused",
            stacklevel=2,
        )
    runners: list[StepRunner] = [*loaded.runners]
    if leader:
        runners = [leading := LeadingRunner(loaded.runner, leader.send)]
        leader.watch(leading.stuck)
    sizes = loaded.sizes
    prefills, decodes = (
        ", ".join(map(str, each)) for each in (loaded.runner.prefill_buckets, loaded.runner.decode_buckets)
    )
    copies = f"{len(runners)} x " if len(runners) > 1 else ""
    kv_memory = f"{engine.kv_dtype or engine.dtype}, {loaded.kv_bytes / 1024**2:,.1f} MiB"
    facts: tuple[tuple[str, str], ...] = (
        ("parameters", f"{loaded.parameters / 1e6:,.1f} M {engine.dtype}"),
        ("devices", loaded.device),
        ("attention", loaded.attention),
        ("products", loaded.matmul_backend),
        ("context", f"{sizes.max_seq_len} tokens"),
        ("slots", f"{copies}{sizes.slots} sequences decode together, {engine.max_queued} may queue"),
        ("KV pages", f"{copies}{sizes.pages - 1} of {sizes.page_size} tokens, {kv_memory}"),
        ("programs", f"prefill of {prefills} tokens, decode of {decodes} rows ({engine.determinism})"),
    )
    if notes := "; ".join(template.traits.notes()):
        facts += (("chat template", notes),)
    if template.uses_date:
        facts += (("template date", chat.template_date or "the day of each request in UTC"),)
    name, *other_names = chat.served_model_name or (model_id(model),)
    info = ModelInfo(
        id=name,
        other_names=tuple(other_names),
        created=int((directory / "config.json").stat().st_mtime),
        vocab=min(tokenizer.size, vocab),
        logits=sizes.vocab,
        context=sizes.max_seq_len,
        queue=engine.max_queued,
        fingerprint=loaded.fingerprint,
        raw_logprobs=engine.logprobs == "raw",
        quantization_forms=(*sorted(CHECKPOINT_FORMS.names()), "gguf"),
        facts=facts,
        block_size=loaded.runner.prefill_buckets[0],
        blocks=len(runners) * (sizes.pages - 1) * sizes.page_size // loaded.runner.prefill_buckets[0],
        backend=loaded.platform,
    )
    return ChatSession(
        _engine(runners, {**loaded.scheduling, "max_drafts": engine.max_drafts}, engine.max_queued),
        tokenizer,
        template,
        info,
        chat,
        compiles=lambda: loaded.compiles_after_ready,
        release=loaded.close,
    )


def _engine(runners: list[StepRunner], scheduling: dict[str, Any], queue: int) -> Engine | DataParallelEngine:
    """Returns an `Engine` for one runner, a `DataParallelEngine` for several."""
    first, *others = parts = [(runner, Scheduler(**scheduling)) for runner in runners]
    if not others:
        return Engine(*first, queue_limit=queue)
    return DataParallelEngine(parts, queue_limit=queue, chunk=scheduling["prefill_buckets"][0])


def convert(
    source: str,
    destination: Path,
    *,
    dtype: DTypeName | None = None,
    quantize: Quantize | None = None,
    report: Report = lambda *_: None,
) -> DTypeName:
    """Writes a model to a directory, with its weights rounded to 4 or 8 bits, or in Orbax format.

    Returns the dtype of the weights that are not rounded. See `jaxchat.checkpoints.convert`.

    Args:
        source: "bundled", a hub id, a model directory in Hugging Face format, or a GGUF file.
        destination: the directory to write, new or empty.
        dtype: dtype of the stored weights. None: bfloat16 if all weights of the source have it, otherwise float32.
        quantize: rounds weights to 4 or 8 bits in groups of 32, and writes Hugging Face format. None writes Orbax
            format.
        report: called as `report("reading weights", done, total)`.

    Raises:
        ModelError: the source cannot be loaded or is in Orbax format, the destination exists and is not empty, or Orbax
            is not installed.
        OSError: the destination cannot be written.
    """
    from jaxchat.checkpoints.convert import convert as write  # these import jax
    from jaxchat.checkpoints.orbax import check_installed

    if quantize is None:
        check_installed()  # before a model is downloaded

    def progress(done: int, total: int) -> None:
        report("reading weights", done, total)

    return write(check_model(source), destination.expanduser(), dtype=dtype, quantize=quantize, progress=progress)
