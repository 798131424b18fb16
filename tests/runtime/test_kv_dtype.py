"""An engine whose keys and values are rounded: the same answers alone, from cached prompts, under load and swapped."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import jaxchat
from jaxchat.client import AsyncClient

SETTINGS = dict(
    kv_dtype="int8", slots=3, prefill_chunk=32, prefill_buckets=(64,), decode_buckets=(2,), max_seq_len=160, pages=17
)


def asked(index: int) -> dict[str, Any]:
    """Returns a request with a prompt of two or three chunks, in which some share the first."""
    text = f"{index % 2} looks at the sea. " + "and waits " * (2 + index)
    return {
        "messages": [{"role": "user", "content": text}],
        "seed": index,
        "temperature": 0.7 * (index % 3),
        "logprobs": True,
        "top_logprobs": 5,
        "max_tokens": 32,
        "ignore_eos": True,
    }


async def answer(client: AsyncClient, index: int) -> tuple[dict[str, Any], int]:
    """Returns the choice of an answer, with its log-probabilities, and the number of cached tokens."""
    completion = await client.chat.completions.create(**asked(index))
    usage = completion.usage.model_dump()
    return completion.choices[0].model_dump(), usage["prompt_tokens_details"]["cached_tokens"]


@pytest.mark.bits
def test_answers_alone_are_those_from_the_cache_and_under_load(tiny_model: Path) -> None:
    async def run() -> None:
        async with await jaxchat.load_async(str(tiny_model), progress=False, **SETTINGS) as client:
            session: Any = client.transport.session
            expected = []
            for index in range(5):
                (alone, missed), (again, cached) = [await answer(client, index) for _ in range(2)]
                assert alone == again and missed < cached
                expected.append(alone)
            assert session.stats.preemptions == 0
            together = await asyncio.gather(*(answer(client, index) for index in range(5)))
            assert [choice for choice, _ in together] == expected
            assert session.stats.preemptions > 0

    asyncio.run(run())
