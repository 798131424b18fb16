"""The open requests of a session, on an engine that accepts requests and never answers."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import numpy as np
import pytest

from jaxchat.chat.context import RequestContext
from jaxchat.chat.generations import Generations
from jaxchat.config import ChatConfig
from jaxchat.errors import ChatError
from jaxchat.types import GenerateRequest


class HungEngine:
    """An engine whose thread hangs after the loss of a device."""

    alive = True

    def submit(self, request: GenerateRequest) -> int:
        return 1

    def cancel(self, request_id: int, choice: int | None = None) -> None:
        pass


@pytest.mark.parametrize("late", [False, True])
async def test_a_failed_engine_ends_requests_that_run_and_those_still_in_preparation(late: bool) -> None:
    generations = Generations(cast(Any, HungEngine()), ChatConfig(), queue=1)
    request = GenerateRequest(prompt=np.zeros(3, np.int32), max_tokens=1)
    record = RequestContext(request_id="a").record("chat", model="m", streamed=False, choices=1, user="")
    if late:
        generations.fail()
    running = asyncio.ensure_future(generations.collect([request], record))
    await asyncio.sleep(0)
    if not late:
        generations.fail()
    with pytest.raises(ChatError) as error:
        await asyncio.wait_for(running, 60)
    assert error.value.http_status == 503
