"""Chat in the terminal. /reset clears the conversation, /system TEXT sets instructions, /exit or Ctrl-D quits.

Ctrl-C stops an answer. A question on the command line is answered without a conversation.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path

from jaxchat.cache import cache_folder
from jaxchat.client import ChatCompletionChunk, Client, Delta, MessageParam, tls_credentials
from jaxchat.config import ChatConfig, EngineConfig
from jaxchat.errors import ChatError
from serving.cli.environment import quiet_compiler
from serving.cli.flags import add_flags
from serving.cli.progress import Progress
from serving.offline.recorder import recorded

TEMPLATE_SETTINGS = ("template_date", "chat_template_kwargs")
Ask = Callable[[list[MessageParam]], AbstractContextManager[Iterator[ChatCompletionChunk]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("question", nargs="?", help="question to answer before exiting")
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
    parser.add_argument("--max-tokens", type=int, metavar="TOKENS", help="maximum length of an answer")
    add_flags(parser, EngineConfig, "engine, if a model is loaded", only=("cache_dir",))
    add_flags(parser, ChatConfig, "requests, if a model is loaded", only=TEMPLATE_SETTINGS)


def run(args: argparse.Namespace) -> int:
    """Chats until the user quits, and returns 0.

    Raises:
        ChatError: the question on the command line fails, or the server cannot be reached.
        ModelError: the model cannot be loaded.
        OSError, ValueError: a file or a setting is unusable.
    """
    chat = Conversation(_ask(args), args.system)
    if args.question is not None:
        chat.say(args.question)
    else:
        _interact(chat)
    return 0


class Conversation:
    """A conversation in the terminal.

    Args:
        ask: sends messages and returns the streamed answer.
        system: text of the system message; None for none.
    """

    def __init__(self, ask: Ask, system: str | None):
        self._ask = ask
        self._system = system
        self._turns: list[MessageParam] = []

    def reset(self) -> None:
        self._turns = []

    def instruct(self, system: str) -> None:
        self._system = system or None

    def say(self, text: str) -> None:
        """Sends a message and prints the answer. Ctrl-C stops the answer. Raises `ChatError` if the answer fails."""
        turns: list[MessageParam] = [*self._turns, {"role": "user", "content": text}]
        system: list[MessageParam] = [{"role": "system", "content": self._system}] if self._system else []
        answer: MessageParam = {"role": "assistant", "content": ""}
        try:
            with self._ask(system + turns) as chunks:
                for choice in (choice for chunk in chunks for choice in chunk.choices):
                    _print_delta(choice.delta, answer)
        except KeyboardInterrupt:
            print(" [stopped]", end="")
        print()
        self._turns = [*turns, answer]


def _print_delta(delta: Delta, answer: MessageParam) -> None:
    """Prints new thoughts and text, and adds them to `answer`. Prints a blank line between thoughts and text."""
    thoughts, text = delta.reasoning_content or "", delta.content or ""
    if thoughts:
        answer["reasoning_content"] = (answer.get("reasoning_content") or "") + thoughts
    begins = bool(text and answer.get("reasoning_content") and not answer["content"])
    answer["content"] = f"{answer['content']}{text}"
    print(thoughts + "\n\n" * begins + text, end="", flush=True)


def _interact(chat: Conversation) -> None:
    if find_spec("readline"):
        import readline  # noqa: F401  gives input() line editing and history
    while (line := _read_line()) is not None:
        command, _, argument = line.partition(" ")
        if command == "/exit":
            return
        if command == "/reset":
            chat.reset()
        elif command == "/system":
            chat.instruct(argument.strip())
        elif command.startswith("/"):
            print("Commands: /reset, /system TEXT, /exit")
        elif line:
            _try(chat, line)


def _read_line() -> str | None:
    """Reads a line. Returns None at the end of input, and an empty line after Ctrl-C."""
    try:
        return input("> ").strip()
    except EOFError:
        print()
        return None
    except KeyboardInterrupt:
        print()
        return ""


def _try(chat: Conversation, text: str) -> None:
    try:
        chat.say(text)
    except ChatError as error:
        print(f"Error: {error}", file=sys.stderr)


def _ask(args: argparse.Namespace) -> Ask:
    client = _connect(args) if args.connect else _load(args)
    model = args.model if args.connect and args.model else client.models.list()[0].id
    options = {key: getattr(args, key) for key in ("temperature", "seed", "max_tokens")}

    def ask(messages: list[MessageParam]) -> AbstractContextManager[Iterator[ChatCompletionChunk]]:
        if args.record is None:
            return client.chat.completions.create(model=model, messages=messages, stream=True, **options)
        request = {"model": model, "messages": messages, "return_token_ids": True, **options}
        return recorded(client, request, args.record)

    return ask


def _connect(args: argparse.Namespace) -> Client:
    """Connects to the server of `--connect`.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is unusable, or a flag such as `--template-date` is for a setting of the server.
    """
    for name in TEMPLATE_SETTINGS:
        if getattr(args, name) is not None:
            raise ValueError(f"{name} is a setting of the server, so it cannot stand beside --connect")
    secure = args.tls or args.ca or args.cert or args.key
    credentials = tls_credentials(args.ca, args.cert, args.key, prefix="--") if secure else None
    key = args.api_key_file.read_text("utf-8").strip() if args.api_key_file else None
    return Client(args.connect, api_key=key, credentials=credentials)


def _load(args: argparse.Namespace) -> Client:
    quiet_compiler()
    from jaxchat.api import load_session  # imports jax
    from jaxchat.client.local import LocalTransport

    engine = EngineConfig(cache_dir=args.cache_dir)
    chat = ChatConfig(**{name: getattr(args, name) for name in TEMPLATE_SETTINGS})
    progress = Progress(cache_folder(engine.cache_dir))
    return Client(LocalTransport(load_session(args.model or "bundled", engine, progress, chat, tune_process=True)))
