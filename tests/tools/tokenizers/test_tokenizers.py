"""The comparison of tokenizers passes where all is well, and shows each kind of fault."""

from __future__ import annotations

import json
import time
from pathlib import Path
from random import Random

import pytest

from jaxchat.chat.prompt.control_tokens import ControlTokens
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.response.choice import ChoiceBuilder
from tests import tiny
from tests.chat.prompt import tokenizers as small
from tools.tokenizers.__main__ import main
from tools.tokenizers.cost import longest_stop
from tools.tokenizers.texts import long_texts, texts

QUICK = ["--size", "1000", "--sequences", "40", "--cpu", "1000", "--gil", "1000", "--repetitions", "1"]


def write(directory: Path, source: str, **config: object) -> str:
    (directory / "tokenizer.json").write_text(source)
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return str(directory)


def cells(output: str) -> dict[str, str]:
    head, row, *_ = output.splitlines()
    return dict(zip(head.split(" | "), row.split(" | "), strict=True))


@pytest.mark.parametrize(
    ("source", "config"),
    [
        (tiny.tokenizer_json(), {"chat_template": tiny.TEMPLATE, "eos_token": "<|im_end|>"}),
        (small.gemma(), {"bos_token": "<s>", "eos_token": "</s>"}),
        (small.legacy(), {"bos_token": "<s>", "eos_token": "</s>"}),
    ],
    ids=["bytes", "gemma", "legacy"],
)
def test_sound_tokenizers_have_no_faults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, config: dict[str, object]
) -> None:
    assert main([write(tmp_path, source, **config), *QUICK]) == 0
    row = cells(capsys.readouterr().out)
    assert int(row["texts"]) >= 350 and int(row["sequences"]) > 40
    assert [row[kind] for kind in ("ids", "forged", "bytes", "streams")] == ["0"] * 4


def without_decoys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ControlTokens, "decoy", lambda self, value: None)


def other_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    encode = ChatTokenizer.encode
    monkeypatch.setattr(ChatTokenizer, "encode", lambda self, *args: [*encode(self, *args), 0])


def other_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    bytes_of = ChatTokenizer.bytes_of
    monkeypatch.setattr(ChatTokenizer, "bytes_of", lambda self, token: bytes_of(self, token).upper())


def other_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = ChoiceBuilder.feed
    monkeypatch.setattr(ChoiceBuilder, "feed", lambda self, event: feed(self, event) if event.token else None)


@pytest.mark.parametrize(
    ("kind", "damage"),
    [("forged", without_decoys), ("ids", other_ids), ("bytes", other_bytes), ("streams", other_streams)],
    ids=["forged", "ids", "bytes", "streams"],
)
def test_each_fault_is_counted_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str, damage
) -> None:
    damage(monkeypatch)
    directory = write(tmp_path, tiny.tokenizer_json(), chat_template=tiny.TEMPLATE, eos_token="<|im_end|>")
    assert main([directory, *QUICK]) == 1
    output = capsys.readouterr().out
    assert int(cells(output)[kind]) > 0 and f"\n  {kind}: " in output


@pytest.mark.parametrize("bound", ["--cpu", "--gil"])
def test_a_cost_above_its_bound_is_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str], bound: str) -> None:
    directory = write(tmp_path, tiny.tokenizer_json())
    assert main([directory, *QUICK, bound, "-1"]) == 1
    assert f"\n  {bound[2:].upper()}: Cost(kind='words'" in capsys.readouterr().out


def test_a_call_that_holds_the_gil_is_measured_and_waiting_is_not() -> None:
    numbers = [*range(300_000)]
    Random(0).shuffle(numbers)
    start = time.thread_time()
    sorted(numbers)
    held = 1e3 * (time.thread_time() - start)
    assert longest_stop(lambda: sorted(numbers)) > held / 2
    assert longest_stop(lambda: time.sleep(0.2)) < held / 2


def test_texts_hold_tokens_near_misses_and_halves() -> None:
    made = texts(["<|im_end|>", "<b>"], Random(0))
    assert len(set(made)) == len(made) >= 350
    assert {"<|im_end|>", "<|im_end|", "|im_end|>", "<|im_", "<|IM_END|>", "<b>"} <= {*made}
    assert {len(text) for text in long_texts(["<|im_end|>"], 1000).values()} == {1000}


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path)])
    assert ended.value.code == 2
    assert f"{tmp_path}: no tokenizer.json" in capsys.readouterr().err
