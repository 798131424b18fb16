"""Reads the template variables of a request: `chat_template_kwargs` and `reasoning_effort`."""

from __future__ import annotations

import json
from typing import Any

from jaxchat import v1
from jaxchat.chat.prompt.refusals import unreadable
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.request.schema_text import deeper_than, parse_object
from jaxchat.chat.request.template_effects import LEVELS, TemplateEffects
from jaxchat.errors import invalid, safe_repr, unsupported

FIELD, EFFORT = "chat_template_kwargs", "reasoning_effort"
MAX_BYTES = 64 << 10
MAX_DEPTH = 64


def template_kwargs(request: v1.ChatCompletionRequest, template: ChatTemplate, *, tools: bool) -> dict[str, Any]:
    """Returns the values of template variables that a request sets, JSON data by name.

    Args:
        request: the request.
        template: the model's chat template.
        tools: whether the template gets tools.

    Raises:
        ChatError: 400 if `chat_template_kwargs` is not a JSON object of at most 64 KiB and 64 levels. 400 if it has
            duplicate names, lone surrogates or numbers that are not finite. 400 if it sets a boolean variable to a text
            or a number. 400 if it sets a variable that the template does not read or that the server sets. 400 if
            `reasoning_effort` is unspecified, is also in `chat_template_kwargs`, is not read by the template, or is a
            level without effect.
    """
    kwargs = _parsed(request.chat_template_kwargs) if request.HasField(FIELD) else {}
    settable = template.settable(tools)
    kwargs = {name: value for name, value in kwargs.items() if value is not None or name in settable}
    for name in kwargs:
        if name not in settable:
            raise invalid(f"{FIELD}.{name}", unreadable(name, settable, template.server_variables))
    effects = TemplateEffects(template, tools, kwargs)
    for name in effects.mistyped():
        raise invalid(
            f"{FIELD}.{name}", f"The model's chat template expects true or false, got {safe_repr(kwargs[name])}."
        )
    if not request.HasField(EFFORT):
        if isinstance(kwargs.get(EFFORT), str) and kwargs[EFFORT] in LEVELS:
            _check_level(kwargs[EFFORT], effects, f"{FIELD}.{EFFORT}")
        return kwargs
    effort = _effort(request, known=EFFORT in settable, twice=EFFORT in kwargs)
    _check_level(effort, effects, EFFORT)
    return kwargs | {EFFORT: effort}


def _parsed(text: str) -> dict[str, Any]:
    size = len(text.encode())
    if size > MAX_BYTES:
        raise invalid(FIELD, f"at most {MAX_BYTES} bytes are allowed, got {size}.")
    if deeper_than(text, MAX_DEPTH):
        raise invalid(FIELD, f"arrays and objects may be nested at most {MAX_DEPTH} deep.")
    value = parse_object(text, FIELD, "an object")
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        raise invalid(FIELD, "expected finite numbers, and text without lone surrogates.") from None
    return value


def _check_level(level: str, effects: TemplateEffects, param: str) -> None:
    levels = effects.levels(EFFORT)
    if level not in levels:
        words = ", ".join(levels)
        raise unsupported(param, f"The model has no level of effort {level!r}. Levels that have an effect: {words}.")


def _effort(request: v1.ChatCompletionRequest, *, known: bool, twice: bool) -> str:
    effort: str = v1.ReasoningEffort.Name(request.reasoning_effort).removeprefix("REASONING_EFFORT_").lower()
    if request.reasoning_effort == v1.REASONING_EFFORT_UNSPECIFIED:
        raise invalid(EFFORT, "expected a level of effort, got none.")
    if twice:
        raise invalid(EFFORT, f"also given as {FIELD}.{EFFORT}. Give only one of the two.")
    if not known:
        raise unsupported(EFFORT, f"This model's chat template does not read levels of effort, got {effort!r}.")
    return effort
