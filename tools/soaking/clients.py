"""Sends planned requests and names how each ended.

The end is "completed", "busy", "refused", "cancelled" or "deadline". Any other end is a violation. An end that the
request's manner does not allow is a violation too. The name of a violation begins with "!".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai

from jaxchat.client import AsyncClient
from jaxchat.errors import ChatError
from tools.soaking.plan import LEGAL, PlannedRequest

HANG = 120.0  # seconds after which a request counts as hanging


class Clients:
    """A REST client and a gRPC client of one server. `rest` is a URL that ends in /v1, `grpc` is `host:port`."""

    def __init__(self, rest: str, grpc: str) -> None:
        self._openai = openai.AsyncOpenAI(base_url=rest, api_key="none", max_retries=0, timeout=HANG)
        self._client = AsyncClient(grpc, timeout=HANG)

    async def close(self) -> None:
        await self._openai.close()
        await self._client.close()

    async def execute(self, plan: PlannedRequest) -> str:
        """Sends a request and returns its end. The end begins with "!" if the request's manner does not allow it."""
        try:
            end = await asyncio.wait_for(self._end(plan), 2 * HANG)
        except Exception as error:  # any exception is a violation
            return f"!{type(error).__name__}: {error}"[:300]
        return end if end in LEGAL[plan.manner] else f"!{end}"

    async def _end(self, plan: PlannedRequest) -> str:
        request = asyncio.ensure_future(self._send(plan))
        if plan.manner == "cancels":
            await asyncio.wait({request}, timeout=plan.patience)
            request.cancel()
        try:
            return await request
        except asyncio.CancelledError:
            return "cancelled"
        except (ChatError, openai.APIError) as error:
            return _word(error)
        except Exception as error:
            if type(error).__name__ == "ReadTimeout":  # the openai package's HTTP library raises it within a stream
                return "deadline"
            raise

    async def _send(self, plan: PlannedRequest) -> str:
        door = self._openai if plan.protocol == "rest" else self._client
        options: dict[str, Any] = {"timeout": plan.patience} if plan.manner == "deadline" else {}
        if plan.stream:
            options |= {"stream": True, "stream_options": {"include_usage": True}}
        create: Any = door.chat.completions.create
        answer = await create(**plan.fields, **options)
        return await _read(answer, plan) if plan.stream else _check(answer, plan)


async def _read(stream: AsyncIterator[Any], plan: PlannedRequest) -> str:
    """Reads a stream to its end, slowly if the plan says so, and closes it.

    Returns "completed", or "torn" if a choice has no finish reason or the usage is missing.
    """
    ends, usage = set(), 0
    try:
        async for chunk in stream:
            ends |= {choice.index for choice in chunk.choices if choice.finish_reason}
            usage = usage or (chunk.usage.completion_tokens if chunk.usage else 0)
            if plan.manner == "slow":
                await asyncio.sleep(plan.patience)
    finally:
        await (stream.aclose() if hasattr(stream, "aclose") else stream.close())  # type: ignore[attr-defined]
    return "completed" if ends == set(range(plan.choices)) and usage else "torn"


def _check(answer: Any, plan: PlannedRequest) -> str:
    ends = [choice.index for choice in answer.choices if choice.finish_reason]
    return "completed" if ends == list(range(plan.choices)) and answer.usage.completion_tokens else "torn"


def _word(error: ChatError | openai.APIError) -> str:
    if isinstance(error, openai.APITimeoutError):
        return "deadline"
    status = error.http_status if isinstance(error, ChatError) else getattr(error, "status_code", 0)
    words = {400: "refused", 429: "busy", 504: "deadline"}
    return words.get(status, f"{status} {type(error).__name__}: {error}")
