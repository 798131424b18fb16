"""The protocol of a worker: JSON lines. A worker reads its settings, then answers requests until its input ends.

    {"model": ..., "dtype": ..., "slots": 8, "max_seq_len": 1024, "threads": 2}   ->  {"version": "..."}
    {"requests": [{"at": 0.0, "prompt": [1, 2], "tokens": 3}]}                ->  {"times": [[0.1, 0.2, 0.3]]}
                                                                              ->  {"error": "..."}

In a run, each request starts `at` seconds after the beginning. `times` has the seconds at which each token arrived.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The first message to every worker."""

    model: str  # a directory in Hugging Face form, or a GGUF file
    dtype: str  # float32, bfloat16, int8 for weights of 8 bits, or gguf for those of a GGUF file
    slots: int  # maximum number of sequences that are decoded together
    max_seq_len: int  # longest prompt plus answer in tokens
    threads: int
    way: str = ""  # for jaxchat: grpc or rest


@dataclass(frozen=True, kw_only=True)
class Request:
    """One prompt of token ids. Its answer is greedy and has exactly `tokens` tokens."""

    at: float  # seconds from the beginning of the run
    prompt: list[int]
    tokens: int


Times = list[list[float]]
"""Seconds from the beginning of the run to each token, for each request."""


class LoadedPeer(Protocol):
    """A peer that has loaded its model.

    `run` returns, for each request, the seconds from the beginning of the run at which its tokens arrived.
    """

    version: str

    def run(self, requests: list[Request]) -> Times: ...

    def close(self) -> None: ...


class Clock:
    """A clock that shows the seconds since it was constructed."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def now(self) -> float:
        return time.perf_counter() - self._began

    def sleep_until(self, moment: float) -> None:
        time.sleep(max(moment - self.now(), 0.0))


def serve(load: Callable[[Settings], LoadedPeer]) -> None:
    """Loads a peer and answers messages until standard input ends. Sends the output of libraries to standard error.

    Args:
        load: loads the peer that the settings describe.
    """
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)

        def say(**message: Any) -> None:
            out.write(json.dumps(message) + "\n")
            out.flush()

        try:
            with closing(load(Settings(**json.loads(sys.stdin.readline())))) as peer:
                say(version=peer.version)
                for line in sys.stdin:
                    say(times=peer.run([Request(**request) for request in json.loads(line)["requests"]]))
        except BrokenPipeError:
            pass  # the reader has closed the pipe
        except Exception:
            say(error=traceback.format_exc())
            raise
