"""Runs `transformers` in a greedy loop over the model and its KV cache.

Requests of equal length that arrive together form one batch. Other requests wait for the end of the batch.
"""

from __future__ import annotations

from itertools import groupby

import torch
import transformers

from tools.bench.workers.line import Clock, Request, Settings, Times, serve


class TransformersLoop:
    """A peer with a model of `transformers` in eager mode, for the given settings."""

    def __init__(self, settings: Settings) -> None:
        torch.set_num_threads(settings.threads)
        dtype = getattr(torch, settings.dtype)
        self._model = transformers.AutoModelForCausalLM.from_pretrained(settings.model, dtype=dtype).eval()
        self.version = f"{transformers.__version__}, torch {torch.__version__}"

    def run(self, requests: list[Request]) -> Times:
        clock, times = Clock(), []
        for (at, _, tokens), group in groupby(requests, lambda r: (r.at, len(r.prompt), r.tokens)):
            clock.sleep_until(at)
            prompts = [request.prompt for request in group]
            arrivals = self._batch(prompts, tokens, clock)
            times += [arrivals] * len(prompts)
        return times

    def close(self) -> None:
        """Does nothing, because the end of the process frees all resources."""

    @torch.inference_mode()
    def _batch(self, prompts: list[list[int]], tokens: int, clock: Clock) -> list[float]:
        times: list[float] = []
        ids, cache = torch.tensor(prompts), None
        while len(times) < tokens:
            out = self._model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            ids, cache = out.logits[:, -1].argmax(-1, keepdim=True), out.past_key_values
            times.append(clock.now())
        return times


if __name__ == "__main__":
    serve(TransformersLoop)
