"""Every refusal through every front door: status, type, code, path, message, and gRPC's details."""

from __future__ import annotations

import re

import pytest

from jaxchat.errors import ChatError
from tests.contract import refusals, refusals_tools
from tests.contract.covering import REFUSALS
from tests.contract.doors import Door, Refusal
from tests.contract.place import Place
from tests.contract.refusals import Case

GROUPS: dict[str, list[Case]] = {
    "sampling": refusals.SAMPLING,
    "counts": refusals.COUNTS,
    "texts": refusals.TEXTS,
    "messages": refusals.MESSAGES,
    "history": refusals.HISTORY,
    "tools": refusals_tools.TOOLS,
    "choices": refusals_tools.CHOICES,
    "legacy": refusals_tools.LEGACY,
    "formats": refusals_tools.FORMATS,
    "unknown": refusals_tools.UNKNOWN,
}
for _case in (case for cases in GROUPS.values() for case in cases):
    if _case.field:
        REFUSALS.setdefault(_case.field, []).append(str(_case.fields)[:80])


@pytest.mark.parametrize("group", GROUPS)
def test_bad_values_are_refused_by_name(echo: Door, group: str) -> None:
    for case in GROUPS[group]:
        if not echo.can_say(**case.fields):
            continue  # protobuf has no form for a value of the wrong type
        refusal = echo.refused(**case.fields)
        found = (refusal.status, refusal.param, refusal.code, refusal.type, refusal.retry_after)
        assert found == (case.status, case.param, case.code, "invalid_request_error", None), case
        assert all(part in refusal.message for part in case.says), (case, refusal.message)
        assert names_its_field(refusal), refusal


HEAD = re.compile(
    r"(?:(?:Invalid (?:type|value|schema)|Unsupported value) for |(?:Missing required|Unknown) parameter: )?'([^']+)'"
)


def names_its_field(refusal: Refusal) -> bool:
    """Whether a message is short and says first, and once, which field, or which part of it, is wrong."""
    if refusal.code == "model_not_found":
        return refusal.message.startswith("The model 'nobody' does not exist.")  # as the API says it
    if refusal.code == "context_length_exceeded":
        return refusal.message.startswith("This model's maximum context length is")
    head = HEAD.match(refusal.message)
    path = head[1] if head else ""
    same = path == refusal.param or path.startswith(f"{refusal.param}.")
    return same and refusal.message.count(f"'{path}'") == 1 and len(refusal.message) <= 300


LONG = [
    ({"messages": [{"role": "user", "content": "hi", "name": "x" * 5000}]}, "messages.0.name", "xxx'"),
    ({"logit_bias": {"x" * 5000: 1}}, "logit_bias", "xxx'"),
    *[
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}},
            "response_format.json_schema.schema",
            "contains",
        )
        for char in "n\N{GRINNING FACE}"
        for schema in ({"properties": {char * 6000: {"contains": {"type": "null"}}}},)
    ],
    *[({"chat_template_kwargs": {char * 3000: 1}}, "chat_template_kwargs.", "") for char in "n\N{GRINNING FACE}"],
]


@pytest.mark.parametrize(("fields", "param", "says"), LONG)
def test_long_names_and_values_are_cut_short_in_messages(echo: Door, fields: dict, param: str, says: str) -> None:
    if not echo.can_say(**fields):
        return
    refusal = echo.refused(**fields)
    assert (refusal.status, refusal.code) == (400, None)
    assert refusal.param and refusal.param.startswith(param) and len(refusal.param) <= 200
    assert says in refusal.message and "..." in refusal.message and len(refusal.message) <= 300


def test_python_shows_the_message_alone(echo_place: Place) -> None:
    for client in (echo_place.client, echo_place.in_process):
        with pytest.raises(ChatError) as refused:
            client.chat.completions.create(model="echo", messages=[refusals.USER], temperature=9)
        assert str(refused.value) == "Invalid value for 'temperature': must be from 0 to 2, got 9.0."


BOUNDS = [
    *[{name: value} for name in ("frequency_penalty", "presence_penalty") for value in (-2, 2, 1.5)],
    *[{"temperature": value} for value in (0, 2)],
    *[{"top_p": value} for value in (0, 1)],
    *[{"min_p": value} for value in (0, 1)],
    *[{"repetition_penalty": value} for value in (0.01, 100)],
    *[{"top_k": value} for value in (-1, 2**31 - 1)],
    {"min_tokens": 0},
    {"min_tokens": 3, "max_tokens": 3},
    {"stop_token_ids": [*range(63), 4999]},
    {"structured_outputs": {"choice": ["Hello"]}, "response_format": {"type": "text"}},
    *[{"seed": value} for value in (-(2**63), 2**63 - 1)],
    *[{"logprobs": True, "top_logprobs": value} for value in (0, 20)],
    {"logit_bias": {str(token): 100 if token % 2 else -100 for token in range(1024)}},
    {"logit_bias": {"0007": 0.5, "4999": 1}},
    {"n": 128, "max_tokens": 1},
    {"stop": ["1", "2", "3", "4"]},
    {"tools": [refusals.TOOL | {"function": {"name": f"f{i}"}} for i in range(128)], "tool_choice": "none"},
    {"tools": [refusals.TOOL | {"function": {"name": "x" * 64}}]},
    {"messages": [refusals.USER | {"name": "aZ09_-" + "x" * 58}]},
    {"messages": [refusals.USER | {"content": ""}]},
    {"function_call": "none"},
    {"tools": [], "functions": [], "stop": []},
    {"logit_bias": {"1": 100, "2": -100.0}},
    *[{"service_tier": tier, "store": False, "metadata": {}, "modalities": ["text"]} for tier in ("auto", "default")],
    {"user": "", "modalities": []},
    {"prediction": {"type": "content", "content": "x" * 4096}},
]


@pytest.mark.parametrize("fields", BOUNDS, ids=[str(fields)[:40] for fields in BOUNDS])
def test_the_bounds_themselves_are_legal(echo: Door, fields: dict) -> None:
    assert echo.ask(**fields).finish
