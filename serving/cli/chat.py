"""Chat in the terminal, or answer one question.

With a question on the command line or in a pipe, answers it and ends. Text from a pipe or a file comes in front of a
question on the command line: `cat notes.txt | jaxchat chat "Summarise this."`

Without a question, begins a conversation. /help lists its commands, Ctrl-C stops an answer, Ctrl-D quits.
"""

from __future__ import annotations

import argparse
import os
from contextlib import closing
from pathlib import Path

from jaxchat.cache import cache_folder
from jaxchat.client import Client, tls_credentials
from jaxchat.config import ChatConfig, EngineConfig
from jaxchat.errors import ChatError
from jaxchat.settings import advice
from serving.cli.environment import quiet_compiler
from serving.cli.flags import add_flags
from serving.cli.interrupt import ending_at_once
from serving.cli.progress import Progress
from serving.terminal.conversation import Answerer, AnswerOptions, ClientModel, Conversation, Models
from serving.terminal.dialogue import Dialogue
from serving.terminal.display import Display, is_terminal_input, piped_text

TEMPLATE_SETTINGS = ("template_date", "chat_template_kwargs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    text = "question to answer; without one, and without text from a pipe, begins a conversation"
    parser.add_argument("question", nargs="*", metavar="QUESTION", help=text)
    parser.add_argument(
        "--model", help="model directory, GGUF file, hub id or 'bundled'; with --connect, a model id of that server"
    )
    parser.add_argument("--connect", metavar="HOST:PORT", help="gRPC server to use instead of loading a model")
    parser.add_argument("--api-key-file", type=Path, metavar="FILE", help="file with the API key for that server")
    parser.add_argument("--tls", action="store_true", help="connect by TLS; implied by the next three flags")
    parser.add_argument(
        "--ca", metavar="FILE", help="certificate authorities that the server's certificate must come from"
    )
    parser.add_argument("--cert", metavar="FILE", help="client certificate for the server")
    parser.add_argument("--key", metavar="FILE", help="private key of the client certificate")
    parser.add_argument("--system", metavar="TEXT", help="instructions for the model")
    text = "sampling temperature from 0 to 2; 0 always takes the likeliest token"
    parser.add_argument("--temperature", type=float, metavar="T", help=text)
    parser.add_argument("--seed", type=int, metavar="N", help="makes answers repeatable")
    text = "append each question with its answer to FILE, for `jaxchat replay`"
    parser.add_argument("--record", type=Path, metavar="FILE", help=text)
    text = "show what the model thinks before it answers (default: at a terminal, dimmed; not in pipes)"
    parser.add_argument("--show-thinking", action=argparse.BooleanOptionalAction, help=text)
    parser.add_argument("--max-tokens", type=int, metavar="TOKENS", help="maximum length of an answer")
    add_flags(parser, EngineConfig, "engine, if a model is loaded", only=("cache_dir",))
    add_flags(parser, ChatConfig, "requests, if a model is loaded", only=TEMPLATE_SETTINGS)


def run(args: argparse.Namespace) -> int:
    """Answers the question, or chats until the user quits. Returns 0.

    Raises:
        ChatError: the question fails.
        KeyboardInterrupt: Ctrl-C ended the answer to the question.
        ModelError: the model cannot be loaded.
        OSError, ValueError: a file or a setting is unusable, the server cannot be reached, or there is neither a
            question nor a terminal.
    """
    models = _ServerModels(args) if args.connect else _LoadedModels(args)
    with closing(models):
        return _chat(models, args)


def _chat(models: _ServerModels | _LoadedModels, args: argparse.Namespace) -> int:
    question = _question(args)
    options = AnswerOptions(temperature=args.temperature, seed=args.seed, max_tokens=args.max_tokens)
    display = Display.detect(os.environ, thoughts=args.show_thinking)
    with ending_at_once():
        conversation = Conversation(models.first(), args.system, options, display)
        dialogue = Dialogue(conversation, models)
        if not question:
            dialogue.greet()
    if question:
        conversation.say(question)
    else:
        dialogue.run()
    return 0


def _question(args: argparse.Namespace) -> str:
    """Returns the question: the text from a pipe or file, then the words of the command line.

    Returns "" if there is neither. A conversation begins then.

    Raises:
        ValueError: there is neither a question nor a terminal, or the input is not text.
    """
    parts = [part for part in ("" if is_terminal_input() else piped_text(), " ".join(args.question)) if part.strip()]
    if not parts and not is_terminal_input():
        raise ValueError("no question: give one on the command line or in standard input, or use a terminal")
    return "\n\n".join(parts)


class _ServerModels(Models):
    """The models of the server that `--connect` names.

    `close` must be called: gRPC may wait forever for a channel that is open when the interpreter ends.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._client = _connect(args)

    def first(self) -> Answerer:
        try:
            return self.open(self._args.model) if self._args.model else self._model(None)
        except ChatError as error:
            if "failed to connect" not in str(error):
                raise
            advice = "is it running, is this the port of gRPC, and does it want --tls or not?"
            raise ValueError(f"no server answers at {self._args.connect}: {advice}") from None

    def open(self, name: str) -> Answerer:
        names = self._names()
        if name not in names:
            hint = advice(name, names, str) or "."
            raise ValueError(f"the server has no model {name}{hint} {self.describe()}")
        return self._model(name)

    def describe(self) -> str:
        return f"The server has {', '.join(self._names())}."

    def close(self) -> None:
        self._client.close()

    def _model(self, name: str | None) -> ClientModel:
        return ClientModel(self._client, name, self._args.record)

    def _names(self) -> list[str]:
        return [model.id for model in self._client.models.list()]


class _LoadedModels(Models):
    """Models that are loaded into this process, one at a time."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._loaded: ClientModel | None = None

    def first(self) -> ClientModel:
        return self.open(self._args.model or "bundled")

    def open(self, name: str) -> ClientModel:
        """Loads a model, and then closes the previous model. If the loading fails, the previous model stays open."""
        before, model = self._loaded, ClientModel(_load(self._args, name), None, self._args.record)
        self._loaded = model
        if before:
            before.client.close()
        return model

    def describe(self) -> str:
        return "/model takes a model directory, a GGUF file, a hub id or bundled."

    def close(self) -> None:
        if self._loaded:
            self._loaded.client.close()


def _connect(args: argparse.Namespace) -> Client:
    """Connects to the server that `--connect` names.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is unusable, or a flag is set that only a server can have, such as `--template-date`.
    """
    for name in TEMPLATE_SETTINGS:
        if getattr(args, name) is not None:
            raise ValueError(f"{name} is a setting of the server, so it cannot stand beside --connect")
    secure = args.tls or args.ca or args.cert or args.key
    credentials = tls_credentials(args.ca, args.cert, args.key, prefix="--") if secure else None
    key = args.api_key_file.read_text("utf-8").strip() if args.api_key_file else None
    return Client(args.connect, api_key=key, credentials=credentials)


def _load(args: argparse.Namespace, model: str) -> Client:
    quiet_compiler()
    from jaxchat.api import load_session  # imports jax
    from jaxchat.client.local import LocalTransport

    engine = EngineConfig(cache_dir=args.cache_dir)
    chat = ChatConfig(**{name: getattr(args, name) for name in TEMPLATE_SETTINGS})
    progress = Progress(cache_folder(engine.cache_dir), leave=False)
    return Client(LocalTransport(load_session(model, engine, progress, chat, tune_process=True)))
