"""The determinism tool finds no difference on a small run, and finds one that is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest

from jaxchat.chat.grammar.constraint import output_constraint
from jaxchat.chat.request.params import stop_tokens
from jaxchat.chat.request.tool_choice import ToolChoice
from jaxchat.chat.request.validate import validate
from jaxchat.openai_json.request import request_from_json
from tests import tiny
from tools.determinism.__main__ import Report
from tools.determinism.answers import Choice, from_chunks, from_completion
from tools.determinism.requests import RequestSpace, random_request, with_prediction

pytestmark = pytest.mark.first


@pytest.mark.exhaustive
def test_a_small_run_is_equal_bit_for_bit(tmp_path: Path) -> None:
    model = tiny.write(tmp_path / "model", **tiny.EXPERTS)
    command = [sys.executable, "-m", "tools.determinism", "--model", str(model), "--dtype", "bfloat16"]
    done = subprocess.run(
        [*command, "--requests", "16", "--slots", "4", "--words", "4", "--longest", "100"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 differing answers; 0 compiles after ready" in done.stdout
    assert int(re.search(r"(\d+) sequences swapped out", done.stdout)[1]) > 0
    assert len(re.findall(r"^\| [^|]+ \| 16 \|", done.stdout, re.MULTILINE)) == 7
    assert int(re.search(r"(\d+) drafts accepted", done.stdout)[1]) > 0


def test_a_differing_bit_is_counted(capsys) -> None:
    entry = (b"a", b"\x00\x00\x00\x00", ())
    report = Report([{}], [{0: Choice("a", (), "stop", (entry,))}])
    report.add("same", [{0: Choice("a", (), "stop", (entry,))}], 0)
    assert report.differing == 0
    report.add("other", [{0: Choice("a", (), "stop", ((b"a", b"\x01\x00\x00\x00", ()),))}], 0)
    assert report.differing == 1 and "other" in capsys.readouterr().err


FIELDS = {
    *("temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty", "seed"),
    *(
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "max_tokens",
        "min_tokens",
        "stop",
        "stop_token_ids",
        "ignore_eos",
        "n",
    ),
    *("structured_outputs", "return_token_ids", "chat_template_kwargs", "reasoning_effort", "prediction"),
}


def test_random_requests_are_valid_and_have_every_sampling_field() -> None:
    space = RequestSpace(
        model="m", vocab=300, longest=20, words=8, switches=("enable_thinking",), efforts=("low", "high")
    )
    rng, seen = Random(1), set[str]()
    for _ in range(300):
        sent = with_prediction(rng, random_request(rng, space), "hello there")
        request = request_from_json(sent).request
        validate(request, vocab_size=space.vocab, model_ids=("m",))
        stop_tokens(request, frozenset({0}), constrained=output_constraint(request, ToolChoice()) is not None)
        seen |= sent.keys()
    assert seen - {"model", "messages"} == FIELDS


def test_without_template_variables_none_is_set() -> None:
    space = RequestSpace(model="m", vocab=300, longest=20, words=8)
    rng = Random(2)
    sent = {name for _ in range(50) for name in random_request(rng, space)}
    assert not sent & {"chat_template_kwargs", "reasoning_effort"}


def test_ids_of_tokens_are_compared_whole_and_streamed() -> None:
    def part(tokens: list[int]) -> SimpleNamespace:
        text = SimpleNamespace(content="a", tool_calls=None)
        return SimpleNamespace(index=0, message=text, delta=text, logprobs=None, finish_reason="stop", token_ids=tokens)

    chunks = [
        SimpleNamespace(choices=[part([5])], prompt_token_ids=[1, 2]),
        SimpleNamespace(choices=[part([6, 7])]),
    ]
    whole = SimpleNamespace(choices=[part([5, 6, 7])], prompt_token_ids=[1, 2])
    whole.choices[0].message.content = "aa"
    assert from_chunks(chunks) == from_completion(whole)
    whole.choices[0].token_ids = [5, 6, 8]
    assert from_chunks(chunks) != from_completion(whole)
