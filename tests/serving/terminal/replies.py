"""A model that answers with prepared parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jaxchat import v1
from jaxchat.client import ChatCompletionChunk
from serving.terminal.conversation import AnswerOptions

Part = dict[str, Any] | BaseException
REASONS = {"stop": v1.FINISH_REASON_STOP, "length": v1.FINISH_REASON_LENGTH}


class Replies:
    """A model with an answer for each question: deltas, or an exception to raise in place of one.

    Keeps the messages that were sent, and the options of the last request.
    """

    def __init__(self, *answers: list[Part], name: str = "prepared", finish_reason: str = "stop") -> None:
        self.name = name
        self.sent: list[list[Any]] = []
        self.options = AnswerOptions()
        self._answers = iter(answers)
        self._reason = REASONS[finish_reason]

    @contextmanager
    def ask(self, messages: list[Any], options: AnswerOptions) -> Iterator[Iterator[ChatCompletionChunk]]:
        self.sent.append(messages)
        self.options = options
        yield self._chunks(next(self._answers))

    def context(self) -> int | None:
        return 4096

    def _chunks(self, parts: list[Part]) -> Iterator[ChatCompletionChunk]:
        for part in parts:
            if isinstance(part, BaseException):
                raise part
            yield _chunk(v1.ChunkChoice(delta=v1.Delta(**part)))
        yield _chunk(v1.ChunkChoice(delta=v1.Delta(), finish_reason=self._reason))


def _chunk(choice: v1.ChunkChoice) -> ChatCompletionChunk:
    return ChatCompletionChunk.from_proto(v1.ChatCompletionChunk(choices=[choice], seed_used=11))
