"""Runs jaxchat's server with a GGUF file in a separate process, and sends it requests over gRPC.

Each prompt consists of common words, because the file has its own tokenizer: about one token a word, after the tokens
that the chat template adds. Answers do not end at end tokens. Their length is the number of token ids received.
"""

from __future__ import annotations

import asyncio
from random import Random

import httpx

from jaxchat.client import AsyncClient
from tools.bench.workers.doors import Doors
from tools.bench.workers.line import Clock, Request, Settings, serve

_TEXT = (
    "time year people way day man thing woman life child world school state family student group country problem hand "
    "part place case week company system program question work number night point home water room mother area money "
    "story fact month lot right study book eye job word business issue side kind head house service friend father "
    "power hour game line end member law car city community name president team minute idea body information"
)
WORDS = _TEXT.split()


class GgufDoor(Doors):
    """A server process and its client. `settings.model` is a GGUF file."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._added = asyncio.run(self._count("time"))[0] - 1

    async def _one(self, request: Request, clock: Clock, client: AsyncClient, http: httpx.AsyncClient) -> list[float]:
        await asyncio.sleep(max(request.at - clock.now(), 0.0))
        rng = Random(str(request.prompt))
        text = " ".join(rng.choice(WORDS) for _ in range(max(1, len(request.prompt) - self._added)))
        times, _ = await self._ask(client, text, request.tokens, clock)
        if len(times) != request.tokens:
            raise RuntimeError(f"asked for {request.tokens} tokens, got {len(times)}")
        return times

    async def _count(self, text: str) -> tuple[int, int]:
        """Returns the number of tokens in the prompt of the message `text`, and in its answer of at most one token."""
        async with AsyncClient(self._server.grpc) as client:
            times, prompt = await self._ask(client, text, 1, Clock())
            return prompt, len(times)

    async def _ask(self, client: AsyncClient, text: str, tokens: int, clock: Clock) -> tuple[list[float], int]:
        times: list[float] = []
        prompt = 0
        async for chunk in await client.chat.completions.create(
            model=self._server.model,
            messages=[{"role": "user", "content": text}],
            max_tokens=tokens,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
            ignore_eos=True,
            return_token_ids=True,
        ):
            prompt = chunk.usage.prompt_tokens if chunk.usage else prompt
            for choice in chunk.choices:
                times += [clock.now()] * len(choice.token_ids or [])
        return times, prompt


if __name__ == "__main__":
    serve(GgufDoor)
