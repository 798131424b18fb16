"""The dialogue in a terminal: reads lines, and sends them to the model or obeys them as commands."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from jaxchat.errors import ChatError, ModelError
from serving.terminal.conversation import Answerer, Conversation, Models

_COMMAND = re.compile(r"/([A-Za-z?]*)(?:\s+(.*))?", re.DOTALL)
_ALIASES = {"quit": "exit", "?": "help"}
_LARGEST_SEED = 2**63 - 1


class Dialogue:
    """A dialogue with a person at a terminal.

    Args:
        conversation: the conversation.
        models: the models that `/model` may change to.
    """

    def __init__(self, conversation: Conversation, models: Models) -> None:
        self._conversation = conversation
        self._models = models
        self._saved: set[Path] = set()  # files of this dialogue, which it may write again
        self._commands: dict[str, tuple[str, str, Callable[[str], None]]] = {
            "help": ("", "shows this list", self._help),
            "reset": ("", "clears the conversation", self._reset),
            "undo": ("", "removes the last question and its answer", self._undo),
            "system": ("TEXT", "sets instructions for the model; without a text, removes them", self._set_system),
            "seed": ("N", "makes answers repeatable; none ends that; without a number, tells the seed", self._set_seed),
            "model": ("NAME", "goes on with another model; without a name, tells which there are", self._set_model),
            "save": ("FILE", "writes the conversation as the JSON body of a request", self._save),
            "exit": ("", "quits, as /quit and Ctrl-D do", self._exit),
        }
        self._ended = False

    def greet(self) -> None:
        """Prints which model answers, if input and output are a terminal."""
        if self._conversation.display.interactive:
            print(f"{_introduce(self._conversation.model)}. /help lists commands, Ctrl-D quits.")

    def run(self) -> None:
        """Answers lines until the person quits."""
        if self._conversation.display.interactive and find_spec("readline"):
            import readline  # noqa: F401  gives input() line editing and history
        while not self._ended and (line := self._read()) is not None:
            if command := _COMMAND.fullmatch(line):
                self._obey(_ALIASES.get(command[1], command[1]), command[2] or "")
            elif line:
                self._say(line)

    def _read(self) -> str | None:
        """Reads a line. Returns None at the end of input, and an empty line after Ctrl-C."""
        prompt = "> "
        if not self._conversation.display.interactive:  # the prompt must not get into a pipe
            sys.stderr.write(prompt)
            sys.stderr.flush()
            prompt = ""
        try:
            return input(prompt).strip()
        except EOFError:
            print(file=sys.stderr)
            return None
        except KeyboardInterrupt:
            print(file=sys.stderr)
            return ""

    def _say(self, text: str) -> None:
        try:
            self._conversation.say(text)
        except ChatError as error:
            advice = "; /undo or /reset makes room" if error.code == "context_length_exceeded" else ""
            print(f"Error: {error}{advice}", file=sys.stderr)
        except KeyboardInterrupt:
            print("\n[stopped]", file=sys.stderr)

    def _obey(self, name: str, argument: str) -> None:
        if name not in self._commands:
            near = get_close_matches(name, [*self._commands, *_ALIASES], n=1)
            hint = f": did you mean /{near[0]}?" if near else "."
            print(f"Unknown command /{name}{hint} /help lists the commands.")
            return
        try:
            self._commands[name][2](argument.strip())
        except (ChatError, ModelError, OSError, ValueError) as error:
            print(f"Error: {error}", file=sys.stderr)
        except KeyboardInterrupt:  # while another model loads
            print("\n[stopped]", file=sys.stderr)

    def _help(self, _: str) -> None:
        rows = [(f"/{name} {argument}", text) for name, (argument, text, _) in self._commands.items()]
        width = max(len(name) for name, _ in rows)
        print("\n".join(f"{name:<{width}}  {text}" for name, text in rows))
        print("Ctrl-C stops an answer. Anything else is a message to the model.")

    def _exit(self, _: str) -> None:
        self._ended = True

    def _reset(self, _: str) -> None:
        self._conversation.reset()
        print("The conversation is empty.")

    def _undo(self, _: str) -> None:
        question = self._conversation.undo()
        print("Nothing to remove." if question is None else f"Removed: {_shortened(question)}")

    def _set_system(self, text: str) -> None:
        self._conversation.system = text or None
        print("Instructions set." if text else "No instructions.")

    def _set_seed(self, text: str) -> None:
        options, last = self._conversation.options, self._conversation.last_seed
        if not text:
            now = "Each answer draws its seed" if options.seed is None else f"The seed is {options.seed}"
            print(now + (f"; the last answer had {last}." if last is not None else "."))
            return
        seed = None if text.lower() == "none" else _seed(text)
        self._conversation.options = replace(options, seed=seed)
        print("Each answer draws its seed." if seed is None else f"The seed is {seed}.")

    def _set_model(self, name: str) -> None:
        if not name:
            print(f"This is {self._conversation.model.name}. {self._models.describe()}")
            return
        self._conversation.model = model = self._models.open(name)
        print(f"{_introduce(model)}. The conversation goes on.")

    def _save(self, name: str) -> None:
        if not name:
            raise ValueError("/save needs the name of a file")
        path = Path(name).expanduser()
        if path.exists() and path not in self._saved:
            raise ValueError(f"{path} exists; name another file")
        conversation = self._conversation
        body = {"model": conversation.model.name, "messages": conversation.messages, **conversation.options.params()}
        path.write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n", "utf-8")
        self._saved.add(path)
        print(f"Saved {len(conversation.messages)} messages to {path}.")


def _introduce(model: Answerer) -> str:
    """Returns the model's name and, if known, its context."""
    context = model.context()
    return f"{model.name}, {context:,} tokens of context" if context else model.name


def _seed(text: str) -> int:
    try:
        seed = int(text)
    except ValueError:
        raise ValueError(f"seed must be an integer or none, got {text!r}") from None
    if not -_LARGEST_SEED - 1 <= seed <= _LARGEST_SEED:
        raise ValueError(f"seed must be from {-_LARGEST_SEED - 1} to {_LARGEST_SEED}, got {seed}")
    return seed


def _shortened(text: str, limit: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."
