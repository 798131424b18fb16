"""Answers the requests of a batch, so that the output never depends on load, on order, or on interruptions."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from jaxchat.errors import safe_repr
from serving.config import BatchConfig
from serving.offline.lines import BatchInput, BatchLine
from serving.offline.output import output_line, refused_line, request_id
from serving.offline.served_model import served_model
from serving.offline.state import BatchState
from serving.offline.target import EngineFailed, Reply, Target, Unreachable

_DELAY, _LONGEST_DELAY = 0.25, 10.0  # seconds before a request is sent again


class BatchProgress(Protocol):
    """A function that is told how far a batch is: requests done, requests in all, and output tokens of this run."""

    def __call__(self, done: int, total: int, tokens: int) -> None: ...


@dataclass(kw_only=True)
class BatchSummary:
    """The result of a run: numbers of requests, output tokens and seconds.

    Attributes:
        total: requests of the batch.
        earlier: requests that were done before this run.
        answered: requests that this run answered.
        refused: requests that this run could not answer; their output lines have errors.
        tokens: output tokens of this run.
        seconds: duration of this run, without the loading of a model.
    """

    total: int
    earlier: int = 0
    answered: int = 0
    refused: int = 0
    tokens: int = 0
    seconds: float = 0.0


class Interrupted(RuntimeError):
    """The error for a batch that stops before its end. The lines that are done stay, and a later run continues."""


async def run_batch(
    source: BatchInput,
    output: Path,
    target: Target,
    settings: Mapping[str, Any],
    config: BatchConfig,
    progress: BatchProgress,
) -> BatchSummary:
    """Writes an output line for each line of the input.

    Args:
        source: the requests.
        output: the file to write. It appears when all lines are done. Until then, the lines are in its state file.
        target: answers the requests.
        settings: what the answers depend on besides the requests and the model.
        config: settings of the run. `concurrency` must be set.
        progress: called after each line.

    Raises:
        ChatError: the target lists no model, or refuses a request that identifies it (`served_model`).
        EngineFailed, Unreachable: the target does not answer such a request.
        Interrupted: the target fails or stops answering later, or serves another model than before.
        OSError: a file cannot be read or written.
        ValueError: the output file or its state is not of this batch (see `BatchState`).
    """
    model = await served_model(target)
    header = {"input_sha256": source.sha256, "model": model.id, "fingerprint": model.fingerprint, **settings}
    state = BatchState(output, header)
    try:
        if state.complete:
            return BatchSummary(total=len(source), earlier=len(source))
        run = _Run(source, state, target, model.fingerprint, config, progress)
        summary = await run.all()
        state.finish()
        return summary
    finally:
        state.close()


class _Run:
    """One run over the lines that are not done."""

    def __init__(
        self,
        source: BatchInput,
        state: BatchState,
        target: Target,
        fingerprint: str | None,
        config: BatchConfig,
        progress: BatchProgress,
    ) -> None:
        self._source, self._state, self._target = source, state, target
        self._fingerprint, self._config, self._progress = fingerprint, config, progress
        self._summary = BatchSummary(total=len(source), earlier=state.done)
        self._alive = time.monotonic()  # when the target last gave an answer

    async def all(self) -> BatchSummary:
        started = self._alive = time.monotonic()
        pending = (index for index in range(len(self._source)) if index not in self._state)
        assert self._config.concurrency is not None
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._config.concurrency):
                    group.create_task(self._work(pending))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        self._summary.seconds = time.monotonic() - started
        return self._summary

    async def _work(self, pending: Iterator[int]) -> None:
        for index in pending:
            line = self._source.line(index)
            text = refused_line(line) if line.refusal else await self._answer(line)
            self._summary.refused += line.refusal is not None
            self._state.add(index, text)
            self._progress(self._state.done, self._summary.total, self._summary.tokens)

    async def _answer(self, line: BatchLine) -> bytes:
        """Returns the output line of a request. Sends the request again and again until the target takes it.

        Raises:
            Interrupted: the target fails, does not answer for `retry_seconds`, or serves another model than before.
        """
        delay = _DELAY
        while True:
            reply = await self._try(line)
            if isinstance(reply, Reply) and not _passing(reply):
                return self._output(line, reply)
            if time.monotonic() - self._alive > self._config.retry_seconds:
                why = _words(reply) if isinstance(reply, Reply) else str(reply)
                raise Interrupted(f"no answer for {self._config.retry_seconds:g} s, last: {why}")
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY)

    async def _try(self, line: BatchLine) -> Reply | Unreachable:
        try:
            return await self._target.send("POST", line.path, line.body, request_id(line))
        except Unreachable as error:
            return error
        except EngineFailed as error:
            raise Interrupted(str(error)) from None

    def _output(self, line: BatchLine, reply: Reply) -> bytes:
        self._alive = time.monotonic()
        body = _object(reply)
        if reply.status != 200:
            self._summary.refused += 1
            return output_line(line, reply.status, body)
        if (fingerprint := body.get("system_fingerprint")) != self._fingerprint:
            raise Interrupted(
                f"the server's system_fingerprint has changed from {self._fingerprint} to {fingerprint}, so its "
                "answers may differ; continue with the model that the batch was begun with"
            )
        self._summary.answered += 1
        self._summary.tokens += (body.get("usage") or {}).get("completion_tokens", 0)
        return output_line(line, 200, body)


def _passing(reply: Reply) -> bool:
    """Returns whether a later try may get another response, because the server's state caused this response.

    For example, status 429 is caused by the server's state, and status 400 by the request.
    """
    if reply.status == 500:
        return reply.headers.get("x-should-retry") != "false"
    return reply.status in (401, 403, 408, 409, 425, 429) or reply.status > 500


def _object(reply: Reply) -> dict[str, Any]:
    try:
        value = json.loads(reply.body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Interrupted(f"the answer is not a JSON object: {_words(reply)}")
    return value


def _words(reply: Reply) -> str:
    return f"status {reply.status}, {safe_repr(reply.body.decode('utf-8', 'replace'))}"
