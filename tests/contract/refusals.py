"""Invalid values of request fields, with the field that the error must name and texts that its message must contain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ANSWERED = {"role": "tool", "tool_call_id": "c", "content": "r"}
SCHEMA_FORMAT = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}


@dataclass(frozen=True)
class Case:
    """An invalid request and its error.

    Attributes:
        field: the protocol field that is invalid, as `Message.field`; "" for none.
        fields: the fields of the request.
        param: the `param` of the error.
        says: texts that the message contains.
        code: the `code` of the error.
        status: the HTTP status.
    """

    field: str
    fields: dict[str, Any]
    param: str
    says: tuple[str, ...] = ()
    code: str | None = None
    status: int = 400


def asked(name: str, value: Any, *says: str, param: str | None = None, code: str | None = None, **more: Any) -> Case:
    """Returns a case with a bad value of one field of the request.

    Args:
        name: the field.
        value: the bad value.
        says: texts that the message contains.
        param: the `param` of the error; by default `name`.
        code: the `code` of the error.
        more: further fields of the request.
    """
    return Case(f"ChatCompletionRequest.{name}", {name: value, **more}, param or name, says, code)


def said(field: str, param: str, *messages: Any, says: tuple[str, ...] = ()) -> Case:
    """Returns a case with a bad conversation.

    Args:
        field: the protocol field that is invalid, as `Message.field`; "" for none.
        param: end of the error's `param`, after "messages."; "" for none.
        messages: the conversation.
        says: texts that the message contains.
    """
    return Case(field, {"messages": list(messages)}, f"messages.{param}" if param else "messages", says)


def _number(name: str, low: float, high: float) -> list[Case]:
    wrong = [asked(name, value, f"{low:g}", f"{high:g}", str(value)) for value in (low - 0.5, high + 0.5)]
    return wrong + [asked(name, value, "a number") for value in ("1", True, [1], {})]


def _integer(name: str, *bad: tuple[int, str], **more: Any) -> list[Case]:
    wrong = [asked(name, value, bound, str(value), **more) for value, bound in bad]
    return wrong + [asked(name, value, "an integer", **more) for value in (1.0, "1", True)]


SAMPLING = [
    *_number("frequency_penalty", -2, 2),
    *_number("presence_penalty", -2, 2),
    *_number("temperature", 0, 2),
    *_number("top_p", 0, 1),
    *_number("min_p", 0, 1),
    *_number("repetition_penalty", 0.01, 100),
    asked("repetition_penalty", 0, "0.01", "100", "0"),
    *_integer("seed", (2**63, str(2**63 - 1)), (-(2**63) - 1, str(-(2**63)))),
    *[asked("logit_bias", {key: 1}) for key in ("x", "-1", "1.0", " 1", "", "9" * 30)],
    asked("logit_bias", {"5000": 1}, "4999", "5000"),
    asked("logit_bias", {"1": 100.5}, "-100", "100", "100.5"),
    asked("logit_bias", {"1": -101}, "-100", "-101"),
    asked("logit_bias", {"1": 1e300}, "100", "1e+300"),
    *[asked("logit_bias", {"1": value}, "a number") for value in ("1", True, None)],
    asked("logit_bias", [], "an object"),
    asked("logit_bias", {str(token): 0 for token in range(1025)}, "1024", "1025"),
]
COUNTS = [
    *_integer("max_tokens", (0, "1"), (-1, "1"), (-(2**31) - 1, "at least 1,"), (2**31, str(2**31 - 1))),
    *_integer("max_completion_tokens", (0, "1"), (-5, "1")),
    asked("max_tokens", 3, "max_completion_tokens", max_completion_tokens=3),
    *_integer("top_k", (-2, "-1"), (2**31, str(2**31 - 1))),
    *_integer("min_tokens", (-1, "0")),
    asked("min_tokens", 4, "max_tokens", "3", "4", max_tokens=3),
    asked("min_tokens", 4, "max_completion_tokens", "3", "4", max_completion_tokens=3),
    asked("min_tokens", 4096, "4096", param="messages", code="context_length_exceeded"),
    *_integer("n", (0, "1"), (129, "128"), (-1, "1")),
    *_integer("top_logprobs", (21, "20"), (-1, "0"), logprobs=True),
    *[asked("top_logprobs", value, "logprobs", logprobs=given) for value in (0, 5) for given in (False, None)],
    *[asked("exact_logprobs", value, "logprobs") for value in (True, False)],
    asked("exact_logprobs", 1, "true or false", logprobs=True),
    *[asked("logprobs", value, "true or false") for value in (1, "true", [])],
]
GRAMMARS: list[dict[str, Any]] = [
    {"response_format": SCHEMA_FORMAT},
    {"tools": [TOOL]},
    {"structured_outputs": {"choice": ["a"]}},
]
TEXTS = [
    asked("stop_token_ids", list(range(65)), "64", "65"),
    *[asked("stop_token_ids", [1, token], "4999", str(token)) for token in (-1, 5000)],
    *[asked("stop_token_ids", value) for value in (1, "1", ["1"], [1.0], [True], [None], {})],
    *[
        asked(name, value, "true or false")
        for name in ("ignore_eos", "return_token_ids", "return_accepted_drafts")
        for value in (1, "true", [])
    ],
    *[asked("ignore_eos", True, "response_format", **rule) for rule in GRAMMARS],
    *[asked("structured_outputs", value, "an object") for value in ("a", [], 5, True)],
    *[asked("structured_outputs", value, "exactly one", "regex") for value in ({}, {"regex": None}, {"choice": []})],
    asked("structured_outputs", {"regex": "a", "choice": ["b"]}, "exactly one", "regex, choice"),
    asked("structured_outputs", {"regex": "a"}, "response_format", response_format={"type": "json_object"}),
    *[
        Case(f"StructuredOutputs.{name}", {"structured_outputs": {name: value}}, f"structured_outputs.{name}", says)
        for name, value, says in (
            ("regex", "(?=a)", ("lookaround",)),
            ("regex", 5, ("a string",)),
            ("choice", ["a", ""], ("empty",)),
            ("choice", "a", ("an array",)),
            ("choice", [1], ("a string",)),
            ("choice", ["a"] * 1025, ("1024", "1025")),
            ("grammar", "start: nobody", ("nobody",)),
            ("grammar", "start: <|im_end|>", ("<|im_end|>",)),
            ("grammar", ["start"], ("a string",)),
            ("json", 5, ("an object",)),
            ("json", "[]", ("JSON Schema",)),
            ("json", {"not": {}}, ("no value",)),
        )
    ],
    asked("structured_outputs", {"regexp": "a"}, param="structured_outputs.regexp", code="unknown_parameter"),
    *[asked("prediction", value, "an object") for value in ("a", [], 5, True)],
    asked("prediction", {"type": "content", "mood": 1}, param="prediction.mood", code="unknown_parameter"),
    *[
        Case(f"Prediction.{field}", {"prediction": value}, f"prediction.{path}", says)
        for field, value, path, says in (
            ("type", {"content": "a"}, "type", ("'content'",)),
            ("type", {"type": "text", "content": "a"}, "type", ("'content'", "'text'")),
            ("text", {"type": "content"}, "content", ()),
            ("text", {"type": "content", "content": None}, "content", ()),
            ("text", {"type": "content", "content": 5}, "content", ("5",)),
            ("text", {"type": "content", "content": "x" * 4097}, "content", ("at most 4096", "got 4097")),
            ("text", {"type": "content", "content": "x" * 70_000}, "content", ("at most 4096", "more than 65536")),
            ("parts", {"type": "content", "content": []}, "content", ("must have it",)),
            ("parts", {"type": "content", "content": [{"type": "text"}]}, "content.0.text", ()),
            ("parts", {"type": "content", "content": [{"type": "image_url"}]}, "content.0.type", ("text only",)),
            ("parts", {"type": "content", "content": [{"type": "refusal", "refusal": "a"}]}, "content.0.type", ()),
        )
    ],
    asked("stop", ["a", "b", "c", "d", "e"], "4", "5"),
    *[asked("stop", value, "empty") for value in ("", ["a", ""])],
    *[asked("stop", value) for value in ([1], {}, 5, [None], [["a"]])],
    *[asked("model", value) for value in (None, "", 5, [])],
    asked("user", 5, "a string"),
    *[asked("chat_template_kwargs", value, "an object") for value in ("{}", [], 5, True)],
    asked("chat_template_kwargs", {"mood": 1}, "reads: none", "'mood'", param="chat_template_kwargs.mood"),
    asked("chat_template_kwargs", {"x": "y" * 70_000}, "65536"),
    *[asked("reasoning_effort", value, "'xhigh'", "'max'") for value in ("x", "", 1, True, {})],
    asked("reasoning_effort", "low", "does not read", "'low'", code="unsupported_parameter"),
    asked("messages", None),
    *[asked("messages", value) for value in ([], "hi", {})],
    asked("messages", ["hi"], param="messages.0"),
    Case("ChatCompletionRequest.model", {"model": "nobody"}, "model", ("nobody",), "model_not_found", 404),
]
MESSAGES = [
    *[said("ChatMessage.role", "0.role", {"content": "x", **role}) for role in ({}, {"role": None}, {"role": "boss"})],
    *[said("ChatMessage.name", "0.name", USER | {"name": name}) for name in ("", "a b", "é", "x" * 65, "a\n", 5)],
    *[said("ChatMessage.text", "0.content", {"role": role}) for role in ("system", "user", "developer")],
    *[said("ChatMessage.text", "0.content", {"role": "user", "content": bad}) for bad in (None, 5, {}, True)],
    said("ChatMessage.parts", "0.content", {"role": "user", "content": []}),
    said(
        "ChatMessage.parts", "0.content", {"role": "function", "name": "f", "content": [{"type": "text", "text": "x"}]}
    ),
    said("ContentPart.refusal", "0.content.0.type", USER | {"content": [{"type": "refusal", "refusal": "no"}]}),
    said("ContentPart.refusal", "0.content.0.refusal", {"role": "assistant", "content": [{"type": "refusal"}]}),
    said("ChatMessage.refusal", "0.refusal", {"role": "assistant", "content": "x", "refusal": "no"}),
    said("ChatMessage.refusal", "0.refusal", USER | {"refusal": "no"}),
    said("ChatMessage.refusal", "0.refusal", {"role": "assistant", "refusal": ["no"]}),
    said("ChatMessage.reasoning_content", "0.reasoning_content", USER | {"reasoning_content": "hm"}),
    said("ChatMessage.reasoning_content", "0.reasoning_content", {"role": "assistant", "reasoning_content": []}),
    *[
        said("", f"0.{key}", {"role": "assistant", "content": "x", key: value})
        for key, value in (("annotations", {}), ("id", 1))
    ],
    said("ContentParts.parts", "0.content.0", {"role": "user", "content": ["x"]}),
    *[
        said("ContentPart.type", "0.content.0.type", {"role": "user", "content": [{"text": "x", **kind}]}, says=says)
        for kind, says in (
            ({}, ()),
            ({"type": "image_url", "image_url": {"url": "x"}}, ("text only", "image_url")),
            ({"type": "input_audio"}, ("text only",)),
            ({"type": 5}, ()),
        )
    ],
    *[
        said("ContentPart.text", "0.content.0.text", {"role": "user", "content": [{"type": "text", **text}]})
        for text in ({}, {"text": None}, {"text": 5})
    ],
]
HISTORY = [
    said("", "0.tool_calls.0.index", {"role": "assistant", "tool_calls": [CALL | {"index": "0"}]}, ANSWERED),
    said("ChatMessage.tool_calls", "0.tool_calls", USER | {"tool_calls": [CALL]}),
    said("ChatMessage.tool_calls", "0.tool_calls", {"role": "assistant", "tool_calls": [CALL]}, says=("c",)),
    said("ChatMessage.tool_calls", "0.tool_calls", {"role": "assistant", "tool_calls": [CALL]}, USER, ANSWERED),
    *[
        said(f"{kind}.{key}", f"0.tool_calls.0.{path}", {"role": "assistant", "tool_calls": [call]}, ANSWERED)
        for kind, key, path, call in (
            ("ToolCall", "id", "id", CALL | {"id": None}),
            ("ToolCall", "id", "id", CALL | {"id": ""}),
            ("ToolCall", "type", "type", CALL | {"type": None}),
            ("ToolCall", "type", "type", CALL | {"type": "retrieval"}),
            ("ToolCall", "function", "function.name", CALL | {"function": None}),
            ("FunctionCall", "name", "function.name", CALL | {"function": {"arguments": ""}}),
            ("FunctionCall", "arguments", "function.arguments", CALL | {"function": {"name": "f"}}),
            ("FunctionCall", "arguments", "function.arguments", CALL | {"function": {"name": "f", "arguments": {}}}),
        )
    ],
    said("ToolCall.id", "0.tool_calls.1.id", {"role": "assistant", "tool_calls": [CALL, CALL]}, ANSWERED),
    said("ChatMessage.function_call", "0.function_call.name", {"role": "assistant", "function_call": {}}),
    said("ChatMessage.function_call", "0.function_call", USER | {"function_call": {"name": "f", "arguments": ""}}),
    said("ChatMessage.tool_call_id", "1.tool_call_id", USER, {"role": "tool", "content": "r"}),
    said("ChatMessage.tool_call_id", "1.tool_call_id", USER, ANSWERED, says=("c",)),
    said("ChatMessage.tool_call_id", "0.tool_call_id", USER | {"tool_call_id": "c"}),
    said(
        "ChatMessage.tool_call_id",
        "2.tool_call_id",
        *({"role": "assistant", "tool_calls": [CALL]}, ANSWERED, ANSWERED),
    ),
    said("ChatMessage.name", "0.name", {"role": "function", "content": "r"}),
]
