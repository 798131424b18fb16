"""What the capabilities say of Responses requests is what happens to them."""

from __future__ import annotations

from typing import Any

import pytest

from jaxchat.errors import ChatError
from jaxchat.openai_responses import responses_fields, responses_request_from_json
from jaxchat.openai_responses.draft import LATER_FIELDS, TABLE

CHAT: dict[str, dict[str, Any]] = {
    "temperature": {"applied": True, "minimum": 0.0, "maximum": 2.0},
    "max_completion_tokens": {"applied": True, "minimum": 1.0},
    "tools": {"applied": False, "reason": "The model's format of calls is unknown."},
}
FIELDS = responses_fields(CHAT)


def test_every_key_is_described() -> None:
    assert set(FIELDS) == {"stream", *TABLE, *LATER_FIELDS}


def test_shared_fields_are_described_as_in_chat_requests() -> None:
    assert FIELDS["temperature"] == CHAT["temperature"] and FIELDS["tools"] == CHAT["tools"]
    assert FIELDS["max_output_tokens"] == CHAT["max_completion_tokens"]


@pytest.mark.parametrize("key", sorted(key for key, field in FIELDS.items() if not field["applied"] and key != "tools"))
def test_what_is_not_applied_is_rejected_by_name(key: str) -> None:
    assert FIELDS[key]["reason"]
    with pytest.raises(ChatError) as caught:
        responses_request_from_json({"model": "m", "input": "a", key: {"id": "x"}})
    assert caught.value.param == key


@pytest.mark.parametrize("key", sorted(key for key, field in FIELDS.items() if "values" in field))
def test_only_the_listed_values_are_accepted(key: str) -> None:
    for value in FIELDS[key]["values"]:
        responses_request_from_json({"model": "m", "input": "a", key: value})
    with pytest.raises(ChatError) as caught:
        responses_request_from_json({"model": "m", "input": "a", key: "nothing like it"})
    assert caught.value.param == key
