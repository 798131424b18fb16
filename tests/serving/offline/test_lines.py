"""Lines of a batch: what is read, what is refused, and what derives from a line."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import pytest

from serving.offline.lines import BatchInput, parse_line
from tests.serving.offline.batches import request, write


def test_a_request_without_a_seed_gets_the_same_one_at_every_reading() -> None:
    text = json.dumps(request("a")).encode()
    first, again = parse_line(text, 1), parse_line(text + b"\r\n", 99)
    assert first == again and first.refusal is None
    seed = json.loads(first.body)["seed"]
    assert 0 <= seed < 2**48
    assert json.loads(parse_line(json.dumps(request("b")).encode(), 1).body)["seed"] != seed
    assert json.loads(parse_line(json.dumps(request("a", seed=0)).encode(), 1).body)["seed"] == 0


@pytest.mark.parametrize(
    ("line", "message", "custom_id"),
    [
        ("{", "The line is not valid JSON", None),
        ("[1]", "The line must be a JSON object, got [1].", None),
        ('{"url": "a", "url": "b"}', "Invalid value for 'url': The JSON object has this key twice.", None),
        ({**request("a"), "custom_id": None}, "Missing required parameter: 'custom_id'.", None),
        ({**request("a"), "custom_id": 3}, "Invalid type for 'custom_id': expected a string, got 3.", None),
        ({**request("a"), "method": "GET"}, "Invalid value for 'method': must be 'POST', got 'GET'.", "a"),
        ({**request("a"), "url": "/v1/embeddings"}, "got '/v1/embeddings'.", "a"),
        ({**request("a"), "url": ["x"]}, "Invalid value for 'url'", "a"),
        ({**request("a"), "body": [2]}, "Invalid type for 'body': expected an object, got [2].", "a"),
        ({**request("a"), "priority": 1}, "Unknown parameter: 'priority'.", "a"),
        (request("a", stream=True), "Invalid value for 'stream': must be false in a batch, got True.", "a"),
    ],
)  # fmt: skip
def test_lines_that_cannot_be_sent(line: dict[str, object] | str, message: str, custom_id: str | None) -> None:
    text = line if isinstance(line, str) else json.dumps(line)
    parsed = parse_line(text.encode(), 1)
    assert parsed.refusal and message in parsed.refusal.message and parsed.refusal.http_status == 400
    assert parsed.custom_id == custom_id


def test_equal_broken_lines_have_separate_digests() -> None:
    assert parse_line(b"{", 1).digest != parse_line(b"{", 2).digest


def test_lines_are_numbered_with_empty_ones_and_found_again(tmp_path: Path) -> None:
    source = BatchInput(write(tmp_path / "in", request("a"), "", "ä", request("b"), ""))
    assert len(source) == 3
    assert [source.line(index).custom_id for index in (2, 0, 1)] == ["b", "a", None]
    source.close()


def test_a_byte_order_mark_before_an_empty_line_is_no_request(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(codecs.BOM_UTF8 + b"\r\n" + json.dumps(request("a")).encode())
    source = BatchInput(path)
    assert len(source) == 1 and source.line(0).custom_id == "a"
    source.close()


def test_a_repeated_custom_id_names_both_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "in", request("a"), "", request("b"), request("a", "other"))
    with pytest.raises(ValueError, match="custom_id 'a' is on line 1 and on line 4"):
        BatchInput(path)


def test_an_empty_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no requests"):
        BatchInput(write(tmp_path / "in", "", ""))
