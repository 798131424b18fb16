"""Records: how they are read, joined from chunks, and compared."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from serving.cli.main import main
from serving.offline.chunks import join_chunks, read_events
from serving.offline.compare import first_difference
from serving.offline.records import read_records
from tests.serving.conftest import Running
from tests.serving.offline.batches import request, write

ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "created": 1,
    "system_fingerprint": "fp_0123456789",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "hello you "},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4},
}
REQUEST = request("", "hello you", seed=7)["body"]


def changed(path: str, value: Any) -> dict[str, Any]:
    """Returns the answer with another value at a path such as `choices.0.finish_reason`."""
    answer = inner = copy.deepcopy(ANSWER)
    *outer, last = (int(key) if key.isdigit() else key for key in path.split("."))
    for key in outer:
        inner = inner[key]
    inner[last] = value
    return answer


def save(path: Path, *records: dict[str, Any]) -> str:
    return str(write(path, *records))


def test_an_equal_answer(server: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = save(tmp_path / "record.json", {"request": REQUEST, "response": ANSWER})
    assert main(["replay", record, "--url", server.rest]) == 0
    assert capsys.readouterr().out == f"{record}: equal\n"
    assert server.session.requests[-1].seed == 7


def test_an_answer_that_differs(server: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = changed("choices.0.message.content", "hello me ") | {"system_fingerprint": "fp_old"}
    record = save(tmp_path / "record.json", {"request": REQUEST, "response": other})
    assert main(["replay", record, "--url", f"{server.rest}/v1"]) == 1
    output = capsys.readouterr().out
    assert "different at choices[0].message.content, character 6" in output
    assert "recorded     'hello me '" in output and "now          'hello you '" in output
    assert "recorded fp_old, now fp_0123456789 (another model" in output


def test_the_same_answer_of_another_fingerprint_says_so(
    server: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    response = ANSWER | {"system_fingerprint": "fp_old"}
    record = save(tmp_path / "record.json", {"request": REQUEST, "response": response})
    assert main(["replay", record, "--url", server.rest]) == 0
    assert "recorded fp_old, now fp_0123456789" in capsys.readouterr().out


def test_a_request_that_is_refused_now(server: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = {"request": REQUEST | {"temperature": 3}, "response": ANSWER}
    record = save(tmp_path / "record.jsonl", refused, {"request": REQUEST, "response": ANSWER})
    assert main(["replay", record, "--url", server.rest]) == 1
    output = capsys.readouterr().out
    assert f"{record}, line 1: refused: status 400: Invalid value for 'temperature'" in output
    assert output.endswith("1 of 2 answers are equal\n")


def test_a_batch_and_its_output(server: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(write(tmp_path / "in", request("a", "one two"), request("b", "three"), request("c", temperature=9)))
    out = tmp_path / "out"
    assert main(["batch", source, str(out), "--url", server.rest]) == 0
    assert "3 requests: 2 answered, 1 refused" in capsys.readouterr().out
    assert main(["replay", source, str(out), "--url", server.rest]) == 0
    assert "2 of 2 answers are equal" in capsys.readouterr().out
    out.write_text(out.read_text().replace("three", "tree"))
    assert main(["replay", source, str(out), "--url", server.rest]) == 1
    assert "custom_id 'b': different" in capsys.readouterr().out


def test_texts_may_hold_other_ends_of_lines(
    server: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "one\u2028two\u0085three\x0bfour"
    source, out = str(write(tmp_path / "in", request("a", text))), tmp_path / "out"
    assert main(["batch", source, str(out), "--url", server.rest]) == 0
    assert main(["replay", source, str(out), "--url", server.rest]) == 0
    chunk = {"choices": [{"index": 0, "text": text}]}
    events = f"data: {json.dumps(chunk, ensure_ascii=False)}\n\ndata: [DONE]\n\n"
    assert read_events(events) == [chunk]
    capsys.readouterr()


def test_a_chat_that_is_recorded_can_be_replayed(
    server: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "record.jsonl"
    for text in ("hello", "you"):
        assert main(["chat", "--connect", server.grpc, "--record", str(record), text]) == 0
    values = [json.loads(line) for line in record.read_text().splitlines()]
    assert [value["seed"] for value in values] == [-7, -7]
    assert main(["replay", str(record), "--url", server.rest]) == 0
    assert "2 of 2 answers are equal" in capsys.readouterr().out
    assert [request.seed for request in server.session.requests[-2:]] == [-7, -7]


CHUNKS = [
    {"choices": [{"index": 1, "delta": {"role": "assistant", "content": ""}}], "usage": None, "id": "x"},
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
    {"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}, "token_ids": [1, 2]}]},
    {"choices": [{"index": 0, "delta": {"content": "he"}, "logprobs": {"content": [{"token": "he"}]}}]},
    {"choices": [{"index": 0, "delta": {"content": "llo"}, "logprobs": {"content": [{"token": "llo"}]}}]},
    {"choices": [{"index": 1, "delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}}]},
    {"choices": [{"index": 1, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}}]},
    {"choices": [{"index": 1, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "token_ids": [3]}]},
    {"choices": [], "usage": {"total_tokens": 3}},
]


def test_chunks_are_joined() -> None:
    answer = join_chunks(CHUNKS)
    first, second = answer["choices"]
    assert first["message"] == {"content": "hello", "reasoning_content": "hm"} and first["finish_reason"] == "stop"
    assert first["token_ids"] == [1, 2, 3] and [entry["token"] for entry in first["logprobs"]["content"]] == [
        "he",
        "llo",
    ]
    assert second["message"]["tool_calls"] == [{"function": {"name": "f", "arguments": "{}"}}]
    assert answer["usage"] == {"total_tokens": 3}
    events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in CHUNKS)
    assert join_chunks(read_events(f": waiting\n\n{events}data: [DONE]\n\n")) == answer
    with pytest.raises(ValueError, match="before"):
        read_events(events)


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        ("choices.0.finish_reason", "length", "choices[0].finish_reason, character 0"),
        ("choices", [], "choices[0]"),
        ("choices.0.message.content", "hello you", "choices[0].message.content, character 9"),
        ("choices.0.message.reasoning_content", "hm", "choices[0].message.reasoning_content"),
        ("choices.0.message.tool_calls", [{"function": {"name": "f"}}], "choices[0].message.tool_calls"),
        ("choices.0.logprobs", {"content": [{"token": "hello"}]}, "choices[0].logprobs"),
        ("choices.0.token_ids", [1], "choices[0].token_ids"),
        ("usage.completion_tokens", 3, "usage.completion_tokens"),
    ],
)
def test_every_field_of_an_answer_is_compared(path: str, value: Any, place: str) -> None:
    difference = first_difference(ANSWER, changed(path, value))
    assert difference and difference.place == place


def test_tokens_are_compared_before_texts() -> None:
    one, other = (
        {"choices": [{"token_ids": ids, "message": {"content": text}}]} for ids, text in (([1, 2], "a"), ([1, 3], "b"))
    )
    difference = first_difference(one, other)
    assert difference and (difference.place, difference.recorded, difference.now) == (
        "choices[0].token_ids[1]",
        "2",
        "3",
    )


def test_what_differs_between_equal_answers_is_not_compared() -> None:
    other = copy.deepcopy(ANSWER) | {"id": "chatcmpl-2", "created": 9, "service_tier": None}
    other["choices"][0]["message"] |= {"refusal": None, "tool_calls": None, "annotations": []}
    other["usage"]["prompt_tokens_details"] = {"cached_tokens": 2}
    other["choices"][0]["accepted_drafts"] = [1]
    assert first_difference(ANSWER, other) is None
    del other["usage"]
    assert first_difference(ANSWER, other) is None


def test_a_record_of_a_client_without_ids_in_entries_equals_one_with_them() -> None:
    def answer(entry: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"choices": [{"logprobs": {"content": [entry | {"top_logprobs": [entry]}]} | more}]}

    plain = {"token": "a", "logprob": -1.0}
    assert first_difference(answer(plain), answer(plain | {"token_id": 5})) is None
    other = first_difference(answer(plain), answer(plain | {"logprob": -2.0, "token_id": 5}))
    assert other and other.place == "choices[0].logprobs.content[0].logprob"
    text = {"choices": [{"logprobs": {"tokens": ["a"], "token_logprobs": [-1.0]}}]}
    assert first_difference(text, answer(plain, tokens=["a"], token_logprobs=[-1.0])) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ('{"request": {}}\n', "a record must be an object with 'request' and 'response'"),
        (json.dumps(request("a")), "the output of a batch is a second argument"),
        ('{"request": {"messages": []}, "response": {"choices": []}}', "the request has no seed"),
        ('{"request": {"seed": 1}, "response": {"error": {}}}', "'response' is not an answer"),
        ('{"request": {"seed": 1}, "response": "data: {}"}', "ended before [DONE]"),
        ('{"request": {"seed": 1}, "response": {"choices": []}}\n{broken', "line 2: not valid JSON"),
        ('{"request": {"seed": 1}, "response": {"choices": [null]}}', "its choices have another form"),
        ('{"request": {"seed": 1}, "response": {"choices": [{"message": "hello"}]}}', "its choices have another form"),
        (
            '{"request": {"seed": 1}, "response": {"choices": [{"message": {"tool_calls": [{}]}}]}}',
            "its choices have another form",
        ),
        (
            '{"request": {"seed": 1}, "response": '
            '[{"choices": [{"index": 0, "delta": {"tool_calls": [{"index": -1}]}}]}]}',
            "the chunks of 'response' are not those of an answer",
        ),
        ("[" * 100_000, "nested too deep"),
        (
            '{"request": {"prompt": ["a", "b"]}, "seed": 1, "response": {"choices": []}}',
            "Make a record for each prompt",
        ),
    ],
)
def test_records_that_cannot_be_replayed(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "record"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        read_records(path)
    assert message in str(error.value)


def test_greedy_requests_need_no_seed_and_streams_are_asked_whole(tmp_path: Path) -> None:
    asked = {"messages": [], "temperature": 0, "stream": True, "stream_options": {"include_usage": True}}
    path = save(tmp_path / "record", {"request": asked, "response": CHUNKS})
    (record,) = read_records(Path(path))
    assert record.request == {"messages": [], "temperature": 0, "seed": None}
    assert record.response == join_chunks(CHUNKS)
