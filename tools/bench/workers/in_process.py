"""Runs jaxchat's engine in this process, on token ids."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

import jaxchat
from jaxchat.chat.prompt.tokenizer import load_tokenizer
from jaxchat.engine.engine import Engine
from jaxchat.engine.scheduler import Scheduler
from jaxchat.runtime.load import load_runner
from jaxchat.types import GenerateRequest, SamplingParams, TokenEvent
from tools.bench.workers.engine_config import engine_config
from tools.bench.workers.line import Clock, Request, Settings, Times, serve


class InProcess:
    """A peer with jaxchat's engine for the given settings. Its events arrive on the engine thread."""

    def __init__(self, settings: Settings) -> None:
        directory = Path(settings.model)
        loaded = load_runner(directory, engine_config(settings), valid=load_tokenizer(directory).size, text_digest="")
        scheduler = Scheduler(**loaded.scheduling)
        self._engine = Engine(loaded.runner, scheduler, queue_limit=1 << 20)
        self._clock, self._times, self._left, self._lock = Clock(), {}, 0, threading.Condition()
        self._engine.start(self._take)
        self.version = jaxchat.__version__

    def run(self, requests: list[Request]) -> Times:
        self._clock, self._left = Clock(), len(requests)
        self._times: dict[int, list[float]] = {}
        ids = []
        for request in requests:
            self._clock.sleep_until(request.at)
            prompt = np.array(request.prompt, np.int32)
            greedy = SamplingParams(temperature=0.0)
            ids.append(self._engine.submit(GenerateRequest(prompt=prompt, max_tokens=request.tokens, sampling=greedy)))
        with self._lock:
            self._lock.wait_for(lambda: not self._left)
        return [self._times[number] for number in ids]

    def close(self) -> None:
        self._engine.stop()

    def _take(self, events: list[TokenEvent]) -> None:
        now = self._clock.now()
        with self._lock:
            for event in events:
                self._times.setdefault(event.request, []).append(now)
                self._left -= event.finish is not None
            self._lock.notify()


if __name__ == "__main__":
    serve(InProcess)
