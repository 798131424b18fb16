"""Runs vLLM's engine for CPUs in this process, step by step, on token ids."""

from __future__ import annotations

import os

from tools.bench.workers.line import Clock, Request, Settings, Times, serve


class VllmLoop:
    """A peer with vLLM's engine and scheduler for the given settings.

    Runs in eager mode, because vLLM's compiler takes minutes.
    """

    def __init__(self, settings: Settings) -> None:
        # vllm reads these when it is imported. They keep the engine in this process and bound the KV cache (GB).
        os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "2"}
        import vllm

        self._greedy = lambda tokens: vllm.SamplingParams(
            temperature=0, max_tokens=tokens, ignore_eos=True, detokenize=False
        )
        self._engine = vllm.LLM(
            model=settings.model,
            dtype=settings.dtype,
            max_num_seqs=settings.slots,
            max_model_len=settings.max_seq_len,
            enforce_eager=True,
            skip_tokenizer_init=True,
        ).llm_engine
        self._runs = 0
        self.version = vllm.__version__

    def run(self, requests: list[Request]) -> Times:
        self._runs += 1
        clock, coming = Clock(), list(reversed(list(enumerate(requests))))
        times: Times = [[] for _ in requests]
        while coming or self._engine.has_unfinished_requests():
            if not self._engine.has_unfinished_requests():
                clock.sleep_until(coming[-1][1].at)
            while coming and coming[-1][1].at <= clock.now():
                index, request = coming.pop()
                prompt = {"prompt_token_ids": request.prompt}
                self._engine.add_request(f"{self._runs}.{index}", prompt, self._greedy(request.tokens))
            for output in self._engine.step():
                arrivals = times[int(output.request_id.partition(".")[2].partition("-")[0])]
                arrivals += [clock.now()] * (len(output.outputs[0].token_ids) - len(arrivals))
        return times

    def close(self) -> None:
        """Does nothing, because the end of the process frees all resources."""


if __name__ == "__main__":
    serve(VllmLoop)
