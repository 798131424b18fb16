"""Settings of a measurement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxchat.settings import Settings, setting

Endpoint = Literal["chat", "completions"]
PATHS: dict[Endpoint, str] = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}


@dataclass(frozen=True, kw_only=True)
class BenchConfig(Settings):
    """Settings of `jaxchat bench`: the loads, and the requests that make them up."""

    rate: tuple[float, ...] = setting(
        (),
        "open loop: mean requests a second that arrive at random (Poisson), whether earlier ones are answered or not; "
        "several values are measured one after another",
        metavar="N",
        default_text="none",
        least=1e-6,
    )
    concurrency: tuple[int, ...] = setting(
        (),
        "closed loop: requests that are open at the same time, each followed by the next; several values are "
        "measured one after another",
        metavar="N",
        default_text="1, without --rate",
        least=1,
    )
    requests: int = setting(100, "requests that are measured at each load", metavar="N", least=1)
    warmup: int = setting(10, "requests before these, at the same load, that are not counted", metavar="N", least=0)
    endpoint: Endpoint = setting("chat", "chat is /v1/chat/completions, completions is /v1/completions")
    model: str | None = setting(None, "model id", metavar="ID", default_text="the first that the server lists")
    prompt_tokens: int = setting(256, "approximate length of prompts of random words", metavar="TOKENS", least=1)
    output_tokens: int = setting(128, "length of answers", metavar="TOKENS", least=1)
    dataset: str | None = setting(
        None,
        "file with prompts to send instead: JSON lines with prompt, messages or a batch's body, and perhaps max_tokens",
        metavar="FILE",
    )
    ignore_eos: bool = setting(
        True, "ask for answers of the full length, by a field that jaxchat, vLLM, SGLang and others know"
    )
    seed: int = setting(0, "seed of arrivals, prompts and answers", metavar="N", least=0)
    timeout: float = setting(600.0, "time after which a request counts as failed", metavar="SECONDS", least=0.001)

    def validate(self) -> None:
        if self.rate and self.concurrency:
            raise ValueError("rate and concurrency are two kinds of load: give one of them")
