"""Token ids of texts and conversations, prompts as completions use them, and capabilities: REST and gRPC."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from jaxchat import v1
from jaxchat.openai_json import (
    capabilities_to_json,
    detokenize_from_json,
    request_from_json,
    text_request_from_json,
    tokenize_from_json,
    tokenized_to_json,
)
from tests.contract.covering import SEEN, covers, fields_of
from tests.contract.doors import refusal_of
from tests.contract.echo import CONTEXT, END, START, encode_text
from tests.contract.place import Place

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
USER = {"role": "user", "content": "hi <|im_end|>"}


def seen(request: Message, answer: Message) -> Any:
    SEEN.sent.update(fields_of(request))
    SEEN.received.update(fields_of(answer))
    return answer


def both(place: Place, path: str, body: dict[str, Any]) -> Any:
    """Returns the answer of REST. Asserts that gRPC gives the same."""
    reply = place.http.post(path, json=body)
    assert reply.status_code == 200, reply.text
    if path == "/tokenize":
        request = tokenize_from_json(body)
        answer = seen(request, place.stub.Tokenize(request))
        assert tokenized_to_json(answer, with_names=request.return_token_strs) == reply.json()
    elif path == "/detokenize":
        request = detokenize_from_json(body)
        assert {"prompt": seen(request, place.stub.Detokenize(request)).prompt} == reply.json()
    else:
        request = v1.RenderRequest()
        if "/chat/" in path:
            request.chat.CopyFrom(request_from_json(body).request)
        else:
            request.text.CopyFrom(text_request_from_json(body).request)
        prompts = [{"token_ids": list(ids.ids)} for ids in seen(request, place.stub.Render(request)).prompts]
        assert reply.json() == (prompts[0] if "/chat/" in path else prompts)
    return reply.json()


@covers(
    *(f"TokenizeRequest.{name}" for name in ("model", "prompt", "add_special_tokens", "return_token_strs")),
    *(f"TokenizeResponse.{name}" for name in ("count", "max_model_len", "tokens", "token_strs")),
    *(f"DetokenizeRequest.{name}" for name in ("model", "tokens")),
    "DetokenizeResponse.prompt",
)
def test_texts_and_token_ids_are_converted(echo_place: Place) -> None:
    body = {"model": "echo", "prompt": "hi<|im_end|>", "add_special_tokens": True, "return_token_strs": True}
    ids = [*encode_text("hi"), END]
    answer = both(echo_place, "/tokenize", body)
    assert answer == {"count": 3, "max_model_len": CONTEXT, "tokens": ids, "token_strs": ["h", "i", "<|im_end|>"]}
    assert both(echo_place, "/tokenize", {"prompt": ""})["tokens"] == []
    assert both(echo_place, "/tokenize", {"prompt": "a"})["token_strs"] is None
    assert both(echo_place, "/detokenize", {"model": "echo", "tokens": ids}) == {"prompt": "hi<|im_end|>"}
    assert both(echo_place, "/detokenize", {"tokens": []}) == {"prompt": ""}


@covers(
    "TokenizeRequest.conversation",
    *(f"Conversation.{name}" for name in ("messages", "tools", "add_generation_prompt")),
    *("RenderRequest.chat", "RenderRequest.text", "RenderResponse.prompts"),
)
def test_rendered_prompts_are_those_of_completions(echo_place: Place) -> None:
    body = {"model": "echo", "messages": [USER]}
    answer = echo_place.stub.Complete(request_from_json(body | {"return_token_ids": True}).request)
    prompt = list(answer.prompt_token_ids)
    assert both(echo_place, "/v1/chat/completions/render", body | {"stream": True}) == {"token_ids": prompt}
    assert both(echo_place, "/tokenize", body)["tokens"] == prompt
    begin = [START, *encode_text("assistant\n")]
    assert both(echo_place, "/tokenize", body | {"add_generation_prompt": False})["tokens"] == prompt[: -len(begin)]
    with_tools = both(echo_place, "/tokenize", body | {"tools": [TOOL]})["tokens"]
    assert with_tools == both(echo_place, "/v1/chat/completions/render", body | {"tools": [TOOL]})["token_ids"]
    assert len(with_tools) > len(prompt)
    texts = {"model": "echo", "prompt": ["ab", "<|im_end|>"]}
    assert both(echo_place, "/v1/completions/render", texts) == [{"token_ids": encode_text("ab")}, {"token_ids": [END]}]
    assert both(echo_place, "/v1/completions/render", texts | {"prompt": [1, 2]}) == [{"token_ids": [1, 2]}]


REFUSED = [
    ("/tokenize", {}, "prompt"),
    ("/tokenize", {"prompt": "a", "messages": [USER]}, "messages"),
    ("/tokenize", {"prompt": "a", "add_generation_prompt": False}, "add_generation_prompt"),
    ("/tokenize", {"messages": [USER], "add_special_tokens": True}, "add_special_tokens"),
    ("/tokenize", {"messages": [USER], "continue_final_message": True}, "continue_final_message"),
    ("/tokenize", {"messages": [USER], "chat_template_kwargs": {"mood": 1}}, "chat_template_kwargs.mood"),
    ("/tokenize", {"messages": [{"role": "user"}]}, "messages.0.content"),
    ("/tokenize", {"prompt": 5}, "prompt"),
    ("/detokenize", {}, "tokens"),
    ("/detokenize", {"tokens": [5000]}, "tokens"),
    ("/detokenize", {"tokens": "a"}, "tokens"),
    ("/v1/chat/completions/render", {"model": "echo", "messages": [USER], "temperature": 9}, "temperature"),
    ("/v1/completions/render", {"model": "echo", "prompt": "a", "n": 0}, "n"),
    ("/v1/completions/render", {"prompt": "a"}, "model"),
]


@pytest.mark.parametrize(("path", "body", "param"), REFUSED)
def test_bad_requests_are_refused_by_name(echo_place: Place, path: str, body: dict[str, Any], param: str) -> None:
    reply = echo_place.http.post(path, json=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text


@covers("Conversation.chat_template_kwargs")
def test_conversations_are_checked_over_grpc_too(echo_place: Place) -> None:
    request = v1.TokenizeRequest(conversation=v1.Conversation(chat_template_kwargs='{"mood": 1}'))
    request.conversation.messages.add(role=v1.ROLE_USER, text="hi")
    SEEN.sent.update(fields_of(request))
    bad = {"chat_template_kwargs.mood": lambda: echo_place.stub.Tokenize(request)}
    bad |= {"request": lambda: echo_place.stub.Render(v1.RenderRequest())}
    bad |= {"model": lambda: echo_place.stub.Detokenize(v1.DetokenizeRequest(model="nobody"))}
    for param, call in bad.items():
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert refusal_of(caught.value).param == param


@covers(
    *(f"Capabilities.{name}" for name in ("model", "requests", "tool_format", "tool_formats", "reasoning_format")),
    *(f"Capabilities.{name}" for name in ("reasoning_formats", "quantization_forms", "limits")),
    *(f"RequestCapabilities.{name}" for name in ("name", "fields")),
    *(f"FieldCapability.{name}" for name in ("name", "applied", "reason", "minimum", "maximum", "values")),
    *("Limit.name", "Limit.value"),
)
def test_capabilities_are_the_same_over_rest_and_grpc(tiny_place: Place) -> None:
    answer = seen(v1.GetCapabilitiesRequest(), tiny_place.stub.GetCapabilities(v1.GetCapabilitiesRequest()))
    found = tiny_place.http.get("/v1/capabilities").json()
    responses = found["endpoints"].pop("/v1/responses")["fields"]  # which only REST has
    assert found == capabilities_to_json(answer)
    chat = found["endpoints"]["/v1/chat/completions"]["fields"]
    assert responses["top_p"] == chat["top_p"] and responses["max_output_tokens"] == chat["max_completion_tokens"]
    assert found["model"] == "tiny" and found["tool_format"] in found["tool_formats"]
    assert found["reasoning_format"] == "none" and "gptq" in found["quantization_forms"]
    assert found["limits"]["stop"] == 4 and found["limits"]["vocabulary"] == 262


@covers("GetCapabilitiesRequest.model")
def test_capabilities_are_those_of_the_named_model(tiny_place: Place) -> None:
    get, stub = tiny_place.http.get, tiny_place.stub
    named = v1.GetCapabilitiesRequest(model="tiny")
    assert seen(named, stub.GetCapabilities(named)) == stub.GetCapabilities(v1.GetCapabilitiesRequest())
    assert get("/v1/capabilities?model=tiny").json() == get("/v1/capabilities").json()
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetCapabilities(v1.GetCapabilitiesRequest(model="nobody"))
    assert (refusal_of(caught.value).status, refusal_of(caught.value).code) == (404, "model_not_found")
    reply = get("/v1/capabilities?model=nobody")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")
