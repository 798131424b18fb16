"""Shows the parts of a step's time on host and device in one picture: `python -m tools.profiling --shape 0.5B`

Runs streams through the engine under JAX's profiler. Groups the device's operations by the part of the model that they
belong to, and the engine thread's work by phase:

- schedule: chooses the next step;
- pack: writes the input of that step;
- dispatch: passes program and input to the device;
- wait: waits for the previous step;
- emit: processes the tokens of the previous step.

Prints a table and writes a PNG. Text and transports are excluded. `tools.bench.overhead` measures their cost.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import jax
import numpy as np

from jaxchat.config import EngineConfig
from jaxchat.engine.engine import Engine
from jaxchat.engine.scheduler import Scheduler
from jaxchat.model_directory import find
from jaxchat.runtime.load import load_runner
from jaxchat.runtime.packing import PackedLayout
from jaxchat.runtime.runner import Handle, Runner
from jaxchat.types import GenerateRequest, SamplingParams, TokenEvent
from tools.bench.model import make
from tools.bench.shapes import SHAPES
from tools.profiling.kinds import KINDS, Kinds
from tools.profiling.picture import PHASES, draw
from tools.profiling.trace import MARK, Trace, device_time, host_time, read

MARKED = (
    ("schedule", Scheduler, "schedule"),
    ("emit", Scheduler, "process_output"),
    ("dispatch", Runner, "prefill"),
    ("dispatch", Runner, "decode"),
    ("pack", PackedLayout, "pack"),
    ("wait", Handle, "wait"),
)


@contextmanager
def marked() -> Iterator[None]:
    """Marks the phases of the engine thread in traces that are recorded inside the `with` block."""
    with ExitStack() as stack:
        for phase, owner, name in MARKED:
            stack.enter_context(patch.object(owner, name, _marking(phase, getattr(owner, name))))
        yield


def _marking(phase: str, method):  # type: ignore[no-untyped-def]
    def call(*args, **kwargs):  # type: ignore[no-untyped-def]
        with jax.profiler.TraceAnnotation(MARK + phase, call=method.__name__):
            return method(*args, **kwargs)

    return call


class Streams:
    """An engine with one decode program, and its load of random prompts.

    Args:
        directory: directory of the model.
        args: the flags of the command line.
    """

    def __init__(self, directory: Path, args: argparse.Namespace) -> None:
        config = EngineConfig(
            slots=args.streams, decode_buckets=(args.streams,), max_seq_len=args.max_seq_len, dtype=args.dtype
        )
        loaded = load_runner(directory, config, valid=1 << 30, text_digest="")
        self.runner, self.device = loaded.runner, loaded.device
        scheduler = Scheduler(**loaded.scheduling)
        self._vocab, self._seed = loaded.sizes.vocab, 0
        self._engine = Engine(self.runner, scheduler, queue_limit=1 << 20)
        self._left, self._done = 0, threading.Event()
        self._engine.start(self._take)

    def run(self, streams: int, prompt: int, tokens: int) -> None:
        """Runs `streams` random prompts of `prompt` tokens, each until it has `tokens` new tokens."""
        self._left = streams
        self._done.clear()
        for _ in range(streams):
            self._seed += 1
            given = np.random.default_rng(self._seed).integers(0, self._vocab, prompt).astype(np.int32)
            sampling = SamplingParams(seed=self._seed, temperature=0.8, top_p=0.9)
            self._engine.submit(GenerateRequest(prompt=given, max_tokens=tokens, sampling=sampling))
        self._done.wait()

    def stop(self) -> None:
        self._engine.stop()

    def _take(self, events: list[TokenEvent]) -> None:
        self._left -= sum(event.finish is not None for event in events)
        if not self._left:
            self._done.set()


def profile(streams: Streams, args: argparse.Namespace) -> Trace:
    """Runs the load once to warm up and once under the profiler. Returns the trace of the second run.

    Args:
        streams: the engine.
        args: the flags of the command line. The flags `streams`, `prompt` and `tokens` describe the load.
    """
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # a call of every Python function would cost more than it shows
    load = (args.streams, args.prompt, args.tokens)
    with tempfile.TemporaryDirectory() as folder, marked():
        streams.run(*load)
        with jax.profiler.trace(folder, profiler_options=options):
            streams.run(*load)
        programs = {name.partition("[")[0]: program for name, program in streams.runner.programs.items()}
        return read(Path(folder), {f"jit_{name}": Kinds(program.as_text()) for name, program in programs.items()})


def per_step(trace: Trace) -> dict[str, Counter[str]]:
    """Returns the mean milliseconds of a step: of each program by kind of operation, and of the host by phase."""
    rows = {
        f"device, {program}": Counter({kind: time / trace.steps[program] for kind, time in times.items()})
        for program, times in sorted(device_time(trace.operations).items())
    }
    host = host_time(trace.phases)
    return rows | {"host": Counter({phase: time / trace.steps.total() for phase, time in host.items()})}


def table(rows: dict[str, Counter[str]]) -> str:
    """Returns the result of `per_step` as a Markdown table.

    It has a column for each program and the host, and a row for each kind and phase. Cells have milliseconds and the
    share of the step.
    """
    lines = ["| | " + " | ".join(rows) + " |", "|---|" + "---|" * len(rows)]
    for kind in (*KINDS, *PHASES):
        if any(times[kind] for times in rows.values()):
            cells = (f"{t[kind]:.2f} ({100 * t[kind] / t.total():.0f} %)" if t[kind] else "" for t in rows.values())
            lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join([*lines, f"| all | {' | '.join(f'{times.total():.2f}' for times in rows.values())} |"])


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="tools.profiling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--model", default="bundled", help="bundled, or a directory in Hugging Face form")
    model.add_argument("--shape", choices=SHAPES, help="a random model of this shape instead")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=128, help="tokens of each prompt")
    parser.add_argument("--tokens", type=int, default=24, help="tokens of each answer")
    parser.add_argument("--max-seq-len", type=int, default=1024)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "jaxchat" / "bench")
    parser.add_argument("--output", type=Path, default=Path("profile.png"))
    args = parser.parse_args()
    shape = args.shape
    directory = make(args.cache / f"{shape}-{args.dtype}", SHAPES[shape], args.dtype) if shape else find(args.model)
    streams = Streams(directory, args)
    trace = profile(streams, args)
    streams.stop()
    waits = [span for span in trace.phases if span.kind == "wait"]
    rows = per_step(trace)
    title = f"{shape or args.model}, {args.dtype}, {args.streams} streams, {streams.device}"
    print(f"Milliseconds of a step: {title}\n\n{table(rows)}")
    middle = len(waits) * 3 // 4  # by then no prompts are left
    draw(rows, trace, (waits[middle].begin, waits[min(middle + 3, len(waits) - 1)].end), title, args.output)
    print(f"\nThe picture is in {args.output}.")


if __name__ == "__main__":
    main()
