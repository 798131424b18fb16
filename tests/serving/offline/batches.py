"""Inputs of batches, and a target that answers as a server does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving.config import BatchConfig
from serving.offline.batch import BatchSummary, run_batch
from serving.offline.lines import BatchInput
from serving.offline.served_model import CHAT
from serving.offline.target import AppTarget, Reply
from serving.rest.app import create_app
from tests.serving.fake_session import FakeSession

Intercept = Callable[[int], Reply | Exception | None]
CONFIG = BatchConfig(concurrency=4, retry_seconds=0)


def request(custom_id: str, text: str = "hello", model: str = "fake", **fields: Any) -> dict[str, Any]:
    """Returns a line of a batch."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body}


def write(path: Path, *lines: dict[str, Any] | str) -> Path:
    """Writes an input; texts as they are."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n", "utf-8")
    return path


class FakeTarget(AppTarget):
    """The REST application of a fake session. Answers have another fingerprint and other ids each time if asked to.

    Args:
        intercept: called with the number of a chat request from 0, the question for the fingerprint included. Returns
            what to reply or raise instead of the answer.
    """

    def __init__(self, intercept: Intercept = lambda number: None) -> None:
        self.session = FakeSession()
        self.session.ready = True
        super().__init__(create_app(self.session), self.session.failed.is_set)
        self._intercept = intercept
        self.chats = self.open = self.most_open = 0

    async def send(self, method: str, path: str, body: bytes = b"", request_id: str = "") -> Reply:
        if path == CHAT:
            instead = self._intercept(self.chats)
            self.chats += 1
            if isinstance(instead, Exception):
                raise instead
            if instead:
                return instead
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        await asyncio.sleep(0)
        try:
            return await super().send(method, path, body, request_id)
        finally:
            self.open -= 1


def run(
    source: Path, output: Path, target: FakeTarget | None = None, config: BatchConfig = CONFIG, **settings: Any
) -> BatchSummary:
    """Runs a batch to its end."""
    opened = BatchInput(source)
    try:
        return asyncio.run(run_batch(opened, output, target or FakeTarget(), settings, config, lambda *_: None))
    finally:
        opened.close()


def outputs(path: Path) -> list[dict[str, Any]]:
    """Returns the lines of an output."""
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
