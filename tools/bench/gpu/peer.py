"""Times the steps of `transformers` on this machine's GPU, as JSON: `python -m tools.bench.gpu.peer --model NAME`."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, StaticCache

from jaxchat.planning.model_shapes import MODEL_SHAPES
from tools.bench.gpu.engine import add_arguments

KINDS = {"LlamaForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2", "Qwen3MoeForCausalLM": "qwen3_moe"}


class Stepper:
    """A model of `transformers` with random bf16 weights, which decodes greedily.

    Args:
        model: a name in `MODEL_SHAPES`, or the path of a `config.json`.
        device: torch's name of the device, such as "cuda".
        context: size of the static cache, in tokens.
        compiled: whether to use torch.compile and a static cache.
    """

    def __init__(self, model: str, device: str, context: int, *, compiled: bool) -> None:
        fields = dict(MODEL_SHAPES[model] if model in MODEL_SHAPES else json.loads(Path(model).read_text("utf-8")))
        (architecture,) = fields.pop("architectures")
        config = AutoConfig.for_model(KINDS[architecture], **fields)
        with torch.device(device):
            self.model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
        self.device, self.context, self.compiled = torch.device(device), context, compiled
        self.config = config
        self.forward = self.model.forward
        if compiled:
            self.forward = torch.compile(self.model.forward, mode="reduce-overhead", fullgraph=True, dynamic=False)

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    @torch.inference_mode()
    def prefill(self, users: int, prompt: int) -> tuple[Any, torch.Tensor, float]:
        """Prefills `users` random prompts of `prompt` tokens.

        Returns:
            The KV cache, the next tokens i64 `[users, 1]`, and the seconds that the prefill took.
        """
        tokens = torch.randint(0, self.config.vocab_size, (users, prompt), device=self.device)
        cache: Any = (
            StaticCache(config=self.config, max_cache_len=self.context)
            if self.compiled
            else DynamicCache(config=self.config)
        )
        self.synchronize()
        began = time.perf_counter()
        options = {"cache_position": torch.arange(prompt, device=self.device)} if self.compiled else {}
        out = self.model(tokens, past_key_values=cache, use_cache=True, logits_to_keep=1, **options)
        token = out.logits[:, -1:].argmax(-1)
        self.synchronize()
        return cache, token, time.perf_counter() - began

    @torch.inference_mode()
    def decode(self, users: int, prompt: int, steps: int) -> float:
        """Returns the seconds per decode step. Three steps before the measured steps warm up and capture the graph.

        Args:
            users: number of sequences.
            prompt: tokens of each prompt.
            steps: number of steps to measure.
        """
        cache, token, _ = self.prefill(users, prompt)
        position = torch.tensor([prompt], device=self.device)
        for step in range(steps + 3):
            if step == 3:
                self.synchronize()
                began = time.perf_counter()
            options = {"position_ids": position[None].expand(users, 1)}
            if self.compiled:
                torch.compiler.cudagraph_mark_step_begin()
                options["cache_position"] = position
            out = self.forward(token, past_key_values=cache, use_cache=True, **options)
            token = out.logits[:, -1:].argmax(-1).clone()
            position = position + 1
        self.synchronize()
        return (time.perf_counter() - began) / steps


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measures with one number of users after the other. After each, yields all results so far.

    The caller can print them, so that an interrupted run leaves some results. Results are medians over the rounds:
    prefill in tokens per second, decode in seconds per step.
    """
    stepper = Stepper(args.model, args.device, args.max_seq_len, compiled=args.compiled)
    device = torch.cuda.get_device_name() if stepper.device.type == "cuda" else args.device
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    results: dict[str, Any] = {"device": device, **versions, "decode": {}}
    stepper.prefill(4, args.prompt)
    times = [stepper.prefill(4, args.prompt)[2] for _ in range(args.rounds)]
    results["prefill"] = 4 * args.prompt / statistics.median(times)
    for users in args.users:
        seconds = [stepper.decode(users, args.prompt, args.steps) for _ in range(args.rounds)]
        results["decode"][f"{users} greedy"] = statistics.median(seconds)
        yield results


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="tools.bench.gpu.peer", description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--device", default="cuda")
    for results in measure(parser.parse_args()):
        print(json.dumps(results), flush=True)


if __name__ == "__main__":
    main()
