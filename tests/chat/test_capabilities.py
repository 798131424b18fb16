"""What the capabilities say of each field is what happens to requests with it."""

from __future__ import annotations

from typing import Any

import pytest

from jaxchat import v1
from jaxchat.chat.capabilities import capabilities_of
from jaxchat.chat.context import ModelInfo
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.request.prepared import prepare
from jaxchat.chat.request.prepared_text import prepare_text
from jaxchat.chat.request.validate import validate
from jaxchat.chat.request.validate_text import validate_text
from jaxchat.errors import ChatError
from jaxchat.openai_json import capabilities_to_json, request_from_json, text_request_from_json
from tests.contract.echo import END, SOURCE, TEMPLATE

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
EFFORT = "{% if reasoning_effort %}{{ 'think' if reasoning_effort == 'high' else 'skip' }}{% endif %}"
TEMPLATES = {
    "tools": TEMPLATE,
    "unknown": "<|call|>{{ tools | tojson if tools else '' }}{% for m in messages %}{{ m.content }}{% endfor %}",
    "effort": EFFORT + TEMPLATE,
}
INFO = ModelInfo(id="m", created=1, vocab=262, logits=262, context=512, queue=4, fingerprint="fp_0123456789")
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
USER = [{"role": "user", "content": "json"}]
SAMPLES: dict[str, Any] = {
    "model": "m",
    "messages": USER,
    "prompt": ["a", "b"],
    "stream": True,
    "stream_options": {"include_usage": True},
    "logit_bias": {"5": 1},
    "logprobs": True,
    "top_logprobs": 5,
    "exact_logprobs": True,
    "max_tokens": 5,
    "max_completion_tokens": 5,
    "n": 2,
    "response_format": {"type": "json_object"},
    "seed": 1,
    "stop": ["a"],
    "tools": TOOLS,
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "user": "me",
    "functions": [TOOLS[0]["function"]],
    "function_call": "auto",
    "chat_template_kwargs": {"mood": 1},
    "reasoning_effort": "high",
    "ignore_eos": True,
    "stop_token_ids": [1],
    "return_token_ids": True,
    "return_accepted_drafts": True,
    "structured_outputs": {"regex": "a"},
    "prediction": {"type": "content", "content": "a"},
    "suffix": "a",
    "echo": True,
    "best_of": 1,
    "add_special_tokens": False,
}
BESIDE: dict[str, dict[str, Any]] = {  # what else a field needs
    "stream_options": {"stream": True},
    "top_logprobs": {"logprobs": True},
    "exact_logprobs": {"logprobs": True},
    "tool_choice": {"tools": TOOLS},
    "parallel_tool_calls": {"tools": TOOLS},
    "function_call": {"functions": [TOOLS[0]["function"]]},
}


@pytest.fixture(params=TEMPLATES)
def template(request: pytest.FixtureRequest) -> ChatTemplate:
    return ChatTemplate(TEMPLATES[request.param], {})


def refusal(template: ChatTemplate, path: str, body: dict[str, Any]) -> ChatError | None:
    tokenizer = ChatTokenizer(SOURCE, {END}, template)
    limits: dict[str, Any] = {"context": INFO.context, "vocab": INFO.vocab}
    known: dict[str, Any] = {"vocab_size": INFO.vocab, "model_ids": ("m",)}
    try:
        if path == TEXT:
            request = text_request_from_json({"model": "m", "prompt": "a"} | body).request
            prepare_text(request, validate_text(request, **known), tokenizer, **limits)
        else:
            asked = request_from_json({"model": "m", "messages": USER} | body).request
            prepare(asked, validate(asked, **known), template, tokenizer, named_finish="tool_calls", **limits)
    except ChatError as error:
        return error
    return None


def described(template: ChatTemplate) -> dict[str, Any]:
    return capabilities_to_json(capabilities_of(INFO, template, ChatTokenizer(SOURCE, {END}, template)))


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_each_field_is_what_the_capabilities_say(template: ChatTemplate, path: str) -> None:
    fields = described(template)["endpoints"][path]["fields"]
    assert len(fields) > 25
    for name, field in fields.items():
        beside = BESIDE.get(name, {}) if field.get("values") != ["none"] else {}
        ends = {key: whole(field[key]) for key in ("minimum", "maximum") if key in field}
        if not field["applied"]:
            error = refusal(template, path, beside | {name: SAMPLES.get(name, "x")})
            assert error and (error.param or "").split(".")[0] in (name, *beside), (name, error)
            assert field["reason"]
            continue
        for value in ends.values() if ends else accepted_values(name, field, path):
            assert (error := refusal(template, path, beside | {name: value})) is None, (name, value, error)
        for key, end in ends.items():
            beyond = end - 0.1 if key == "minimum" else end + 0.1
            beyond = beyond if isinstance(end, float) else end + (-1 if key == "minimum" else 1)
            error = refusal(template, path, beside | {name: beyond})
            assert error and error.param == name, (name, beyond, error)


def whole(value: float) -> float | int:
    return int(value) if value == int(value) else value


def accepted_values(name: str, field: dict[str, Any], path: str) -> list[Any]:
    if name == "structured_outputs":
        return [
            {rule: {"choice": ["a"], "json": {}, "grammar": 'start: "a"'}.get(rule, "a")} for rule in field["values"]
        ]
    if name == "chat_template_kwargs":
        return [{key: "high"} for key in field["values"]]
    if name == "logprobs" and path == TEXT:
        return [3]
    return field.get("values") or [SAMPLES[name]]


def test_the_described_format_and_effort_are_the_templates() -> None:
    with_effort, plain = (described(ChatTemplate(TEMPLATES[name], {})) for name in ("effort", "unknown"))
    chat = with_effort["endpoints"][CHAT]["fields"]
    assert "high" in chat["reasoning_effort"]["values"] and chat["tools"]["applied"]
    assert chat["chat_template_kwargs"]["values"] == ["reasoning_effort"]
    for found in (with_effort, plain):
        chat, tokenize = (found["endpoints"][path]["fields"] for path in (CHAT, "/tokenize"))
        assert tokenize["chat_template_kwargs"] == chat["chat_template_kwargs"]
    assert plain["tool_format"] == "unknown" and not plain["endpoints"][CHAT]["fields"]["tools"]["applied"]


def test_echoed_log_probabilities_need_raw_ones() -> None:
    template = ChatTemplate(TEMPLATE, {})
    info = ModelInfo(**{**INFO.__dict__, "raw_logprobs": False})
    found = capabilities_to_json(capabilities_of(info, template, ChatTokenizer(SOURCE, {END}, template)))
    assert "raw" in found["endpoints"][TEXT]["fields"]["echo"]["reason"]


def test_every_field_of_the_messages_is_described() -> None:
    answer = capabilities_of(INFO, ChatTemplate(TEMPLATE, {}), ChatTokenizer(SOURCE, {END}))
    for request in answer.requests:
        kind = getattr(v1, request.name)
        assert [field.name for field in request.fields] == [field.name for field in kind.DESCRIPTOR.fields]
