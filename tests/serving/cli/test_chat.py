"""`jaxchat chat` in pipes and at a terminal, with a server whose model repeats the words of the last message."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from jaxchat.errors import ModelError
from serving.cli.main import main
from tests.serving.conftest import Running
from tests.serving.fake_session import FakeSession
from tests.serving.process import PATIENCE
from tests.serving.terminal.pseudo_terminal import PseudoTerminal, at_terminal

ROOT = Path(__file__).resolve().parents[3]
CHAT = [sys.executable, "-m", "jaxchat", "chat"]


def ask(server: Running, *words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the command in pipes, with `text` as its standard input, or without one."""
    source = {"stdin": subprocess.DEVNULL} if text is None else {"input": text}
    command = [*CHAT, "--connect", server.grpc, *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE, **source)


@contextmanager
def terminal(server: Running, *words: str) -> Iterator[PseudoTerminal]:
    with at_terminal(*CHAT, "--connect", server.grpc, *words, cwd=str(ROOT)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("words", "text", "question"),
    [
        (["hello", "you"], None, "hello you"),
        (["sum up"], "a long\ntext\n", "a long\ntext\n\nsum up"),
        ([], "what is it?\n", "what is it?"),
        (["hello"], "", "hello"),
        ([], "/help\n", "/help"),  # a pipe has no commands
    ],
)
def test_one_question_in_pipes(server: Running, words: list[str], text: str | None, question: str) -> None:
    result = ask(server, *words, "--seed", "3", "--system", "be", text=text)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{question} \n", "")
    request = server.session.requests[-1]
    assert [message.text for message in request.messages] == ["be", question]
    assert (request.seed, request.model) == (3, "fake")


def test_without_a_question_and_a_terminal_there_is_nothing_to_do(server: Running) -> None:
    result = ask(server)
    assert (result.returncode, result.stdout) == (1, "") and result.stderr.startswith("jaxchat: no question: ")


def test_a_model_that_the_server_lacks(server: Running) -> None:
    result = ask(server, "--model", "fkae", "hi")
    assert result.returncode == 1
    assert result.stderr == "jaxchat: the server has no model fkae: did you mean fake? The server has fake.\n"


def test_a_server_that_does_not_answer() -> None:
    command = [*CHAT, "--connect", "127.0.0.1:1", "hi"]
    result = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert result.returncode == 1
    assert result.stderr == (
        "jaxchat: no server answers at 127.0.0.1:1: "
        "is it running, is this the port of gRPC, and does it want --tls or not?\n"
    )


def test_a_model_is_loaded_in_place_of_another(monkeypatch, capsys) -> None:
    def load_session(model: str, *_: object, **__: object) -> FakeSession:
        if model == "broken":
            raise ModelError("broken: not a model")
        sessions.append(FakeSession(model))
        return sessions[-1]

    sessions: list[FakeSession] = []
    lines = iter(["one", "/model broken", "two", "/model other", "three", "/exit"])
    monkeypatch.setitem(sys.modules, "jaxchat.api", SimpleNamespace(load_session=load_session))
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    assert main(["chat", "--model", "first", "--cache-dir", "none"]) == 0
    first, other = sessions
    assert [len(first.requests), len(other.requests)] == [2, 1] and not first.ready and not other.ready
    assert [message.text for message in other.requests[0].messages] == ["one", "one ", "two", "two ", "three"]
    assert "Error: broken: not a model" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough(server: Running) -> None:
    command = [*CHAT, "--connect", server.grpc, "a b c"]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, **streams) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE) == 141


def test_a_conversation_at_a_terminal(server: Running) -> None:
    with terminal(server) as chat:
        chat.read_until("/help lists commands, Ctrl-D quits.")
        assert "fake, 100 tokens of context." in chat.seen
        chat.read_until("> ")
        chat.type("one two\r")
        chat.read_until("one two \r\n")
        chat.read_until("> ")
        chat.type("full\r")
        chat.read_until("The queue is full")
        chat.read_until("> ")
        chat.type("/quit\r")
        assert chat.finish() == 0
        assert "Traceback" not in chat.seen


def test_ctrl_c_at_a_terminal_ends_the_answer_alone(server: Running) -> None:
    with terminal(server) as chat:
        chat.read_until("> ")
        chat.type("hang\r")
        server.wait(server.session.until_running(1))
        chat.type("\x03")
        chat.read_until("[stopped]")
        chat.read_until("> ")
        chat.type("/exit\r")
        assert chat.finish() == 0
        assert "Traceback" not in chat.seen
    assert [message.text for message in server.session.requests[-1].messages] == ["hang"]


def test_ctrl_c_ends_a_single_question_with_130(server: Running) -> None:
    with terminal(server, "hang") as chat:
        server.wait(server.session.until_running(1))
        chat.type("\x03")
        assert chat.finish() == 130
        assert "Traceback" not in chat.seen and "/help" not in chat.seen


def test_lines_are_edited_and_remembered(server: Running) -> None:
    pytest.importorskip("readline")
    with terminal(server) as chat:
        chat.read_until("> ")
        chat.type("abd\x7fc\r")  # backspace
        chat.read_until("abc \r\n")
        chat.read_until("> ")
        chat.type("\x1b[A\r")  # arrow up
        chat.read_until("abc \r\n")
        chat.read_until("> ")
        chat.type("\x04")
        assert chat.finish() == 0
    assert [message.text for message in server.session.requests[-1].messages] == ["abc", "abc ", "abc"]


def test_one_question_in_this_process(server: Running, capsys) -> None:
    assert main(["chat", "--connect", server.grpc, "hello you"]) == 0
    assert capsys.readouterr().out == "hello you \n"
