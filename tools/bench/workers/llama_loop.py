"""Runs llama.cpp through its C interface, with batches like those of its server.

Each pass has the next token of every running sequence, and as many tokens of the waiting prompts as fit.
"""

from __future__ import annotations

import ctypes
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import llama_cpp as llama
import numpy as np

from tools.bench.workers.gguf_form import gguf_path
from tools.bench.workers.line import Clock, Request, Settings, Times, serve

BATCH = 512  # most tokens of one pass


@dataclass(eq=False)
class Running:
    """A sequence in the KV cache.

    Attributes:
        index: number of the request in its run.
        slot: llama.cpp's id of the sequence.
        request: the request.
        fed: tokens in the cache.
        last: the newest token id.
        times: seconds from the beginning of the run at which each token arrived.
    """

    index: int
    slot: int
    request: Request
    fed: int = 0
    last: int = 0
    times: list[float] = field(default_factory=list)

    def next_tokens(self, room: int) -> list[int]:
        prompt = self.request.prompt
        return prompt[self.fed : self.fed + room] if self.fed < len(prompt) else [self.last]

    @property
    def complete(self) -> bool:
        """Whether the whole prompt is in the cache, so that the newest logits choose a token."""
        return self.fed >= len(self.request.prompt)


class LlamaLoop:
    """A peer with one context of llama.cpp, whose sequences share the KV cache.

    Args:
        settings: the first message to the worker.

    Raises:
        RuntimeError: llama.cpp cannot load the model.
    """

    def __init__(self, settings: Settings) -> None:
        llama.llama_backend_init()
        path = gguf_path(Path(settings.model))
        self._model = llama.llama_model_load_from_file(str(path).encode(), llama.llama_model_default_params())
        if not self._model:
            raise RuntimeError(f"{path}: llama.cpp cannot load it")
        params = llama.llama_context_default_params()
        params.n_ctx = settings.slots * settings.max_seq_len
        params.n_batch = params.n_ubatch = BATCH
        params.n_seq_max = settings.slots
        params.n_threads = params.n_threads_batch = settings.threads
        params.flash_attn_type = 1  # enabled
        params.kv_unified = True
        self._context = llama.llama_init_from_model(self._model, params)
        self._vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self._model))
        self._batch = llama.llama_batch_init(BATCH, 0, 1)
        self._slots = settings.slots
        self.version = f"llama-cpp-python {llama.__version__}"

    def run(self, requests: list[Request]) -> Times:
        clock, times = Clock(), [[] for _ in requests]
        coming = deque(enumerate(requests))
        free, running = list(range(self._slots)), []
        while coming or running:
            if not running:
                clock.sleep_until(coming[0][1].at)
            while coming and free and coming[0][1].at <= clock.now():
                index, request = coming.popleft()
                running.append(Running(index, free.pop(), request))
            self._step(running, clock)
            for ended in [r for r in running if len(r.times) == r.request.tokens]:
                running.remove(ended)
                free.append(ended.slot)
                llama.llama_memory_seq_rm(llama.llama_get_memory(self._context), ended.slot, -1, -1)
                times[ended.index] = ended.times
        return times

    def close(self) -> None:
        llama.llama_batch_free(self._batch)
        llama.llama_free(self._context)

    def _step(self, running: list[Running], clock: Clock) -> None:
        """Runs one pass. Sequences that decode come first, so that prompts do not delay them.

        Raises:
            RuntimeError: llama.cpp reports an error.
        """
        batch, rows = self._batch, []
        batch.n_tokens = 0
        for sequence in sorted(running, key=lambda r: not r.complete):
            tokens = sequence.next_tokens(BATCH - batch.n_tokens)[: BATCH - batch.n_tokens]
            for token in tokens:
                self._put(token, sequence)
            if tokens and sequence.complete:
                batch.logits[batch.n_tokens - 1] = 1
                rows.append((sequence, batch.n_tokens - 1))
        if llama.llama_decode(self._context, batch):
            raise RuntimeError("llama_decode failed")
        for sequence, row in rows:
            logits = llama.llama_get_logits_ith(self._context, row)
            sequence.last = int(np.argmax(_array(logits, self._vocab)))
        now = clock.now()
        for sequence, _ in rows:
            sequence.times.append(now)

    def _put(self, token: int, sequence: Running) -> None:
        batch, at = self._batch, self._batch.n_tokens
        batch.token[at], batch.pos[at], batch.logits[at] = token, sequence.fed, 0
        batch.n_seq_id[at], batch.seq_id[at][0] = 1, sequence.slot
        batch.n_tokens += 1
        sequence.fed += 1


def _array(pointer: ctypes._Pointer[ctypes.c_float], size: int) -> np.ndarray:
    return np.ctypeslib.as_array(pointer, (size,))


if __name__ == "__main__":
    serve(LlamaLoop)
