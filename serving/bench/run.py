"""Measures a server at one load after another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from jaxchat.errors import ChatError, safe_repr
from serving.bench.config import PATHS, BenchConfig
from serving.bench.figures import LoadFigures, load_figures
from serving.bench.load import closed_loop, open_loop, watching
from serving.bench.prompts import WORDS, Body, PromptLength, Prompts, measured_length
from serving.bench.request import Timing, send

if TYPE_CHECKING:
    import aiohttp

_TIMES = (1, 2)  # how often each of the two prompts that measure the tokens of a word repeats all words


class Bench:
    """A measurement of one server.

    Args:
        session: connections to the server.
        base: URL of the server without the path of the API.
        config: loads and requests.
    """

    def __init__(self, session: aiohttp.ClientSession, base: str, config: BenchConfig) -> None:
        self._session, self._base, self._config = session, base, config
        self._url = base + PATHS[config.endpoint]
        self.model = config.model or ""

    async def run(self) -> AsyncIterator[LoadFigures]:
        """Yields the figures of each load once it is measured.

        Raises:
            ChatError: the server lists no model, does not answer a request, or does not count prompt tokens.
            OSError: the server cannot be reached to list its models, or the dataset cannot be read.
            ValueError: the dataset is unusable.
        """
        self.model = self.model or await self._first_model()
        prompts = Prompts(self._config, self.model, await self._prompt_length())
        for rate in self._config.rate:
            yield await self._measure(prompts, rate=rate)
        for concurrency in self._config.concurrency or (() if self._config.rate else (1,)):
            yield await self._measure(prompts, concurrency=concurrency)

    async def _measure(self, prompts: Prompts, *, rate: float = 0.0, concurrency: int = 0) -> LoadFigures:
        count, name = self._config.warmup + self._config.requests, f"{rate} {concurrency}"
        bodies = prompts.bodies(name, count)
        async with watching() as watch:
            if rate:
                timings = await open_loop(self._send, bodies, rate, Random(f"{self._config.seed} arrivals {name}"))
            else:
                timings = await closed_loop(self._send, bodies, concurrency)
        counted = timings[self._config.warmup :]
        return load_figures("rate" if rate else "concurrency", rate or concurrency, counted, watch)

    async def _send(self, body: Body, scheduled: float | None = None) -> Timing:
        return await send(self._session, self._url, body, scheduled)

    async def _first_model(self) -> str:
        import aiohttp

        try:
            async with self._session.get(f"{self._base}/v1/models") as response:
                models: Any = await response.json(content_type=None)
            return str(models["data"][0]["id"])
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ConnectionError(f"{self._base}: {error or type(error).__name__}") from None
        except (ValueError, KeyError, IndexError, TypeError):
            raise ChatError(f"{self._base}/v1/models does not list a model; name one by --model") from None

    async def _prompt_length(self) -> PromptLength | None:
        """Measures with two requests how many tokens a random word has. Returns None if a dataset has the prompts.

        Raises:
            ChatError: the server does not answer a request, or does not count the tokens of its prompt.
        """
        if self._config.dataset:
            return None
        config, rng = replace(self._config, output_tokens=1), Random(f"{self._config.seed} length")
        prompts, counts = Prompts(config, self.model), []
        for times in _TIMES:
            timing = await self._send(prompts.body(words := rng.sample(WORDS * times, times * len(WORDS)), rng))
            if timing.error:
                hint = "; servers that do not know ignore_eos need --no-ignore-eos" if config.ignore_eos else ""
                raise ChatError(f"{self._url}: {timing.error}{hint}")
            counts.append((len(words), timing.prompt_tokens))
        if counts[0][1] == counts[1][1]:
            raise ChatError(f"{self._url}: the usage does not count prompt tokens, got {safe_repr(counts)}")
        return measured_length(*counts)
