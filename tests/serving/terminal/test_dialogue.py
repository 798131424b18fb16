"""The dialogue at a terminal: its commands, and lines that are messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from jaxchat.errors import ChatError
from serving.terminal.conversation import AnswerOptions, Conversation
from serving.terminal.dialogue import Dialogue
from serving.terminal.display import Display
from tests.serving.terminal.replies import Replies


class Shelf:
    """Models by name."""

    def __init__(self, *models: Replies) -> None:
        self._models = {model.name: model for model in models}

    def open(self, name: str) -> Replies:
        if name not in self._models:
            raise ValueError(f"no model {name}")
        return self._models[name]

    def describe(self) -> str:
        return f"There are {', '.join(self._models)}."


def talk(
    monkeypatch: pytest.MonkeyPatch, lines: list[str | type[BaseException]], model: Replies, *others: Replies
) -> None:
    """Types lines, or raises exceptions in place of a line, then ends the input."""
    typed: Iterator[str | type[BaseException]] = iter([*lines, EOFError])

    def line(prompt: str) -> str:
        following = next(typed)
        if isinstance(following, str):
            return following
        raise following

    monkeypatch.setattr("builtins.input", line)
    conversation = Conversation(model, "be brief", AnswerOptions(temperature=0.5), Display())
    Dialogue(conversation, Shelf(model, *others)).run()


def echoes(count: int, name: str = "prepared") -> Replies:
    return Replies(*([{"content": f"answer {number}"}] for number in range(count)), name=name)


def texts(messages: list[dict[str, str]]) -> list[str]:
    return [message["content"] for message in messages]


def test_messages_and_commands_of_a_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    model = echoes(4)
    talk(
        monkeypatch,
        ["one", "/undo", "two", "/system", "three", "/reset", "/system curtly", "four", "/exit", "x"],
        model,
    )
    assert list(map(texts, model.sent)) == [
        ["be brief", "one"],
        ["be brief", "two"],
        ["two", "answer 1", "three"],
        ["curtly", "four"],
    ]


def test_the_seed_can_be_set_told_and_removed(monkeypatch, capsys) -> None:
    model = echoes(3)
    talk(
        monkeypatch,
        ["a", "/seed", "/seed 7", "b", "/seed", "/seed none", "/seed 9999999999999999999", "/seed x"],
        model,
    )
    output = capsys.readouterr()
    assert "the last answer had 11." in output.out and "The seed is 7; the last answer had 11." in output.out
    assert model.options.seed == 7 and output.out.rstrip().endswith("Each answer draws its seed.")
    assert "seed must be from -9223372036854775808 to 9223372036854775807, got 9999999999999999999" in output.err
    assert "seed must be an integer or none, got 'x'" in output.err


def test_a_saved_conversation_is_the_body_of_a_request(monkeypatch, capsys, tmp_path: Path) -> None:
    saved, other = tmp_path / "saved.json", tmp_path / "other.json"
    other.write_text("mine")
    talk(monkeypatch, ["one", f"/save {saved}", "two", f"/save {saved}", f"/save {other}", "/save"], echoes(2))
    body = json.loads(saved.read_text())
    assert (body["model"], body["temperature"], "seed" in body) == ("prepared", 0.5, False)
    assert texts(body["messages"]) == ["be brief", "one", "answer 0", "two", "answer 1"]
    assert other.read_text() == "mine"
    error = capsys.readouterr().err
    assert "other.json exists; name another file" in error and "/save needs the name of a file" in error


def test_another_model_continues_the_conversation(monkeypatch, capsys) -> None:
    first, second = echoes(2, "first"), echoes(1, "second")
    talk(monkeypatch, ["one", "/model", "/model third", "/model second", "two"], first, second)
    assert texts(second.sent[0]) == ["be brief", "one", "answer 0", "two"] and len(first.sent) == 1
    output = capsys.readouterr()
    assert "This is first. There are first, second." in output.out and "Error: no model third" in output.err
    assert "second, 4,096 tokens of context." in output.out


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("/sed 7", "Unknown command /sed: did you mean /seed? /help lists the commands."),
        ("/zebra", "Unknown command /zebra. /help lists the commands."),
        ("/quti", "did you mean /quit?"),
        ("/help", "/undo         removes the last question and its answer"),
        ("/undo", "Nothing to remove."),
    ],
)
def test_commands_say_what_they_do(monkeypatch, capsys, line: str, says: str) -> None:
    model = echoes(0)
    talk(monkeypatch, [line], model)
    assert says in capsys.readouterr().out and not model.sent


def test_a_line_that_begins_with_a_path_is_a_message(monkeypatch) -> None:
    model = echoes(1)
    talk(monkeypatch, ["/etc/hosts is what?"], model)
    assert texts(model.sent[0])[-1] == "/etc/hosts is what?"


def test_errors_and_interrupts_do_not_end_the_dialogue(monkeypatch, capsys) -> None:
    full = ChatError("too long", code="context_length_exceeded")
    model = Replies([full], [{"content": "half"}, KeyboardInterrupt()], [{"content": "done"}])
    talk(monkeypatch, ["one", "two", KeyboardInterrupt, "three"], model)
    output = capsys.readouterr()
    assert "Error: too long; /undo or /reset makes room" in output.err and "[stopped]" in output.err
    assert texts(model.sent[2]) == ["be brief", "two", "half", "three"]
