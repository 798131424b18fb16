"""A conversation with a model: its messages, and the settings of the next answer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from jaxchat.client import ChatCompletionChunk, ChunkChoice, Client, MessageParam
from jaxchat.errors import ChatError
from serving.offline.recorder import recorded
from serving.terminal.background import read_in_background
from serving.terminal.display import AnswerPrinter, Display


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """Parameters of requests. None means absent."""

    temperature: float | None = None
    seed: int | None = None
    max_tokens: int | None = None

    def params(self) -> dict[str, Any]:
        """Returns the parameters that are set."""
        return {name: value for name, value in vars(self).items() if value is not None}


class Answerer(Protocol):
    """A model that answers conversations."""

    @property
    def name(self) -> str:
        """The model's id."""

    def ask(
        self, messages: list[MessageParam], options: AnswerOptions
    ) -> AbstractContextManager[Iterator[ChatCompletionChunk]]:
        """Returns a context that yields the chunks of an answer. Leaving it cancels an answer that has not ended."""

    def context(self) -> int | None:
        """Returns the maximum number of tokens of a prompt with its answer, None if that is not known."""


class Models(Protocol):
    """The models that a conversation may change to."""

    def open(self, name: str) -> Answerer:
        """Returns the model. Raises ChatError, ModelError, OSError or ValueError if it cannot be used."""

    def describe(self) -> str:
        """Returns a sentence that says which models there are."""


class ClientModel:
    """A model of a client.

    Args:
        client: answers the requests.
        name: the model's id; None for the client's first model.
        record: file that questions and answers are appended to; None for none.

    Raises:
        ChatError: `name` is None, and the server does not answer or refuses to list its models.
        ValueError: `name` is None, and the server lists no model.
    """

    def __init__(self, client: Client, name: str | None, record: Path | None) -> None:
        self.client = client
        self.name = name or _first_model(client)
        self._record = record

    def ask(
        self, messages: list[MessageParam], options: AnswerOptions
    ) -> AbstractContextManager[Iterator[ChatCompletionChunk]]:
        request: dict[str, Any] = {"model": self.name, "messages": messages, **options.params()}
        record = self._record

        def open_stream() -> AbstractContextManager[Iterator[ChatCompletionChunk]]:
            if record is None:
                return self.client.chat.completions.create(stream=True, **request)
            return recorded(self.client, {**request, "return_token_ids": True}, record)

        return read_in_background(open_stream)

    def context(self) -> int | None:
        """Returns the maximum number of tokens of a prompt with its answer, None if the server does not tell it."""
        try:
            return self.client.tokenize(model=self.name, prompt="a").max_model_len
        except ChatError:
            return None


class Conversation:
    """A conversation whose answers are printed as they are made.

    Args:
        model: answers the questions.
        system: text of the system message; None for none.
        options: parameters of the requests.
        display: how answers are shown.
    """

    def __init__(self, model: Answerer, system: str | None, options: AnswerOptions, display: Display) -> None:
        self.model = model
        self.system = system
        self.options = options
        self.display = display
        self.last_seed: int | None = None  # of the last answer
        self._turns: list[MessageParam] = []

    @property
    def messages(self) -> list[MessageParam]:
        """The messages so far, with the system message."""
        system: list[MessageParam] = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, *self._turns]

    def reset(self) -> None:
        """Removes all questions and answers."""
        self._turns = []

    def undo(self) -> str | None:
        """Removes the last question with its answer. Returns the question, or None if there is none."""
        if not self._turns:
            return None
        question, _ = self._turns[-2:]
        del self._turns[-2:]
        return str(question["content"])

    def say(self, text: str) -> None:
        """Sends a message and prints the answer. Calls of tools are printed, but do not become part of the messages.

        Raises:
            ChatError: the answer fails. The question is then not part of the conversation.
            KeyboardInterrupt: Ctrl-C ended the answer. If it has text, question and text are part of the conversation.
        """
        question: MessageParam = {"role": "user", "content": text}
        answer: MessageParam = {"role": "assistant", "content": ""}
        printer, reason = AnswerPrinter(self.display, sys.stdout), None
        try:
            with self.model.ask([*self.messages, question], self.options) as chunks:
                for chunk in chunks:
                    self.last_seed = chunk.seed_used
                    for choice in chunk.choices:
                        printer.show(choice.delta)
                        _add(choice, answer)
                        reason = choice.finish_reason or reason
        except KeyboardInterrupt:
            if answer["content"]:
                self._turns += [question, answer]
            raise
        printer.end()
        if reason == "length":
            print("[cut off at --max-tokens, or at the end of the model's context]", file=sys.stderr)
        self._turns += [question, answer]


def _first_model(client: Client) -> str:
    models = client.models.list()
    if not models:
        raise ValueError("the server lists no model: name one by --model")
    return models[0].id


def _add(choice: ChunkChoice, answer: MessageParam) -> None:
    """Adds a part of an answer to its message."""
    if thoughts := choice.delta.reasoning_content:
        answer["reasoning_content"] = (answer.get("reasoning_content") or "") + thoughts
    answer["content"] = f"{answer['content']}{choice.delta.content or ''}"
