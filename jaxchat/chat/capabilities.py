"""Describes the fields and values that requests may have.

The description is read from the tables of the validators, from the registries and from the model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from google.protobuf.message import Message

from jaxchat import v1
from jaxchat.chat.context import ModelInfo
from jaxchat.chat.model import format_name
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.request import template_kwargs, validate, validate_text, validate_tools
from jaxchat.chat.request.params import check_callable
from jaxchat.chat.request.tool_choice import ToolChoice
from jaxchat.chat.response.reasoning import REASONING_FORMATS
from jaxchat.chat.tools.format import TOOL_FORMATS
from jaxchat.errors import ChatError

Fields = Mapping[str, v1.FieldCapability]
_OF_TOOLS = ("tools", "functions")
_ONLY_NONE = ("tool_choice", "function_call")  # without callable tools
_REQUESTS: dict[type[Message], Mapping[str, tuple[float, float]]] = {
    v1.ChatCompletionRequest: validate.RANGES,
    v1.TextCompletionRequest: validate.RANGES | validate_text.RANGES,
    v1.TokenizeRequest: {},
    v1.DetokenizeRequest: {},
}
LIMITS: dict[str, int] = {
    "stop": validate.MAX_STOPS,
    "stop_token_ids": validate.MAX_STOP_TOKENS,
    "logit_bias": validate.MAX_BIASES,
    "tools": validate_tools.MAX_TOOLS,
    "structured_outputs.choice": validate_tools.MAX_CHOICES,
    "structured_outputs_bytes": validate_tools.MAX_RULE_BYTES,
    "chat_template_kwargs_bytes": template_kwargs.MAX_BYTES,
    "chat_template_kwargs_depth": template_kwargs.MAX_DEPTH,
    "text_completions": validate_text.MAX_CHOICES,
}


def capabilities_of(info: ModelInfo, template: ChatTemplate, tokenizer: ChatTokenizer) -> v1.Capabilities:
    """Returns the fields and values that requests to a model may have.

    Blocks, because it renders probes of the chat template.

    Args:
        info: description of the model.
        template: the model's chat template.
        tokenizer: the model's tokenizer.
    """
    limits = {"context_tokens": info.context, "vocabulary": info.vocab, "queued_sequences": info.queue, **LIMITS}
    special = {
        v1.ChatCompletionRequest: _chat_fields(info, template, tokenizer),
        v1.TextCompletionRequest: _text_fields(info, tokenizer),
    }
    return v1.Capabilities(
        model=info.id,
        requests=[
            v1.RequestCapabilities(name=kind.DESCRIPTOR.name, fields=_fields(kind, ranges, special.get(kind, {})))
            for kind, ranges in _REQUESTS.items()
        ],
        tool_format=format_name(template.tool_format),
        tool_formats=sorted(TOOL_FORMATS.names()),
        reasoning_format=_reasoning_name(template),
        reasoning_formats=sorted(REASONING_FORMATS.names()),
        quantization_forms=info.quantization_forms,
        limits=[v1.Limit(name=name, value=value) for name, value in limits.items()],
    )


def _fields(
    kind: type[Message], ranges: Mapping[str, tuple[float, float]], special: Fields
) -> Iterable[v1.FieldCapability]:
    for field in kind.DESCRIPTOR.fields:
        capability = v1.FieldCapability(name=field.name, applied=True)
        if field.name in ranges:
            low, high = ranges[field.name]
            capability.minimum = low
            if math.isfinite(high):
                capability.maximum = high
        if field.name in special:
            capability.MergeFrom(special[field.name])
            capability.applied = special[field.name].applied
        yield capability


def _chat_fields(info: ModelInfo, template: ChatTemplate, tokenizer: ChatTokenizer) -> Fields:
    fields = _grammar_fields(tokenizer)
    try:
        check_callable(ToolChoice(mode="auto"), template.tool_format)
    except ChatError as error:
        fields |= {name: _rejected(error.message) for name in (*_OF_TOOLS, "parallel_tool_calls")}
        fields |= {name: v1.FieldCapability(applied=True, values=["none"]) for name in _ONLY_NONE}
    names = sorted(template.settable(tools=False) | template.settable(tools=True))
    if names:
        fields["chat_template_kwargs"] = v1.FieldCapability(applied=True, values=names)
    else:
        fields["chat_template_kwargs"] = _rejected("The model's chat template reads no variable that requests may set.")
    return fields | {"reasoning_effort": _effort(info, template)}


def _text_fields(info: ModelInfo, tokenizer: ChatTokenizer) -> Fields:
    fields = _grammar_fields(tokenizer)
    fields |= {name: _rejected(reason) for name, reason in validate_text.REJECTED.items()}
    fields["best_of"] = v1.FieldCapability(applied=True, reason="It must equal n.")
    if not info.raw_logprobs:
        fields["echo"] = v1.FieldCapability(applied=True, reason=validate_text.ECHO_NEEDS_RAW)
    return fields


def _grammar_fields(tokenizer: ChatTokenizer) -> dict[str, v1.FieldCapability]:
    if tokenizer.stop_tokens:
        return {"structured_outputs": v1.FieldCapability(applied=True, values=validate_tools.STRUCTURES)}
    reason = "This model has no token that ends an answer."
    return {"structured_outputs": _rejected(reason)}


def _effort(info: ModelInfo, template: ChatTemplate) -> v1.FieldCapability:
    """Returns the levels of `reasoning_effort` that the validator accepts, or the reason why it accepts none."""
    levels, reason = [], ""
    for name, _ in v1.ReasoningEffort.items():
        request = v1.ChatCompletionRequest(model=info.id, reasoning_effort=name)
        try:
            template_kwargs.template_kwargs(request, template, tools=False)
            levels.append(name.removeprefix("REASONING_EFFORT_").lower())
        except ChatError as error:
            reason = error.message
    return v1.FieldCapability(applied=True, values=levels) if levels else _rejected(reason)


def _reasoning_name(template: ChatTemplate) -> str:
    known = REASONING_FORMATS.items()
    return next((name for name, reasoning in known if reasoning is template.reasoning_format), "none")


def _rejected(reason: str) -> v1.FieldCapability:
    return v1.FieldCapability(applied=False, reason=reason)
