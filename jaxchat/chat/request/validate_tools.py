"""Rules for tools, legacy functions, response formats and structured outputs."""

from __future__ import annotations

from collections.abc import Sequence

from jaxchat import v1
from jaxchat.chat.request.schema_text import SchemaText, parse_schema
from jaxchat.chat.request.tool_choice import Function, ToolChoice, tool_choice_of
from jaxchat.chat.request.validate_fields import check_name
from jaxchat.errors import invalid, missing, safe_repr

MAX_TOOLS = 128
MAX_CHOICES = 1024
MAX_RULE_BYTES = 256 << 10
STRUCTURES = ("regex", "choice", "grammar", "json")


def check_tools(request: v1.ChatCompletionRequest) -> ToolChoice:
    """Checks the tools, the legacy functions and the request's choice among them. Returns the tool choice.

    Raises:
        ChatError: 400 that names the first invalid field.
    """
    functions = _functions([tool.function for tool in request.tools], "tools", ".function")
    for i, tool in enumerate(request.tools):
        if tool.type != v1.TOOL_TYPE_FUNCTION:
            raise missing(f"tools.{i}.type", "A tool must have the type 'function'.")
    _tool_choice(request)
    if request.HasField("parallel_tool_calls") and not request.tools:
        raise invalid("parallel_tool_calls", "only allowed when tools are given.")
    return tool_choice_of(request, _legacy(request) or functions)


def _functions(functions: Sequence[v1.FunctionDefinition], param: str, inside: str) -> tuple[Function, ...]:
    if len(functions) > MAX_TOOLS:
        raise invalid(param, f"at most {MAX_TOOLS} functions are allowed, got {len(functions)}.")
    names: set[str] = set()
    read = []
    for i, function in enumerate(functions):
        path = f"{param}.{i}{inside}"
        if not function.HasField("name"):
            raise missing(f"{path}.name", "A function must have a name.")
        check_name(function.name, f"{path}.name")
        if function.name in names:
            raise invalid(param, f"two functions have the name {safe_repr(function.name)}.")
        names.add(function.name)
        read.append(
            Function(
                name=function.name,
                path=path,
                description=function.description if function.HasField("description") else None,
                parameters=_parameters(function.parameters, f"{path}.parameters")
                if function.HasField("parameters")
                else None,
                strict=function.strict,
            )
        )
    return tuple(read)


def _parameters(text: str, path: str) -> SchemaText:
    schema = parse_schema(text, path)
    kind = schema.value.get("type", "object")
    if kind != "object":
        raise invalid(path, f"must be a schema of type 'object', got {safe_repr(kind)}.")
    return schema


def _tool_choice(request: v1.ChatCompletionRequest) -> None:
    if not request.HasField("tool_choice"):
        return
    choice = request.tool_choice
    kind = choice.WhichOneof("choice")
    if kind is None or (kind == "mode" and not choice.mode):
        raise invalid("tool_choice", "expected a mode or a function, got neither.")
    if choice.mode == v1.TOOL_CHOICE_MODE_NONE:
        return
    if not request.tools:
        raise invalid("tool_choice", "only 'none' is allowed when no tools are given.")
    if kind == "named":
        if choice.named.type != v1.TOOL_TYPE_FUNCTION or not choice.named.HasField("name"):
            raise invalid("tool_choice", "a named choice must have the type 'function' and a function with a name.")
        if choice.named.name not in {tool.function.name for tool in request.tools}:
            raise invalid("tool_choice", f"no tool has the name {safe_repr(choice.named.name)}.")


def _legacy(request: v1.ChatCompletionRequest) -> tuple[Function, ...]:
    functions = _functions(request.functions, "functions", "")
    if request.functions and request.tools:
        raise invalid("functions", "tools are given too. Give only one of the two.")
    _function_call(request)
    return functions


def _function_call(request: v1.ChatCompletionRequest) -> None:
    if not request.HasField("function_call"):
        return
    choice = request.function_call
    kind = choice.WhichOneof("choice")
    if kind is None or (kind == "mode" and choice.mode not in (v1.TOOL_CHOICE_MODE_NONE, v1.TOOL_CHOICE_MODE_AUTO)):
        raise invalid("function_call", "expected 'none', 'auto' or a function.")
    if choice.mode == v1.TOOL_CHOICE_MODE_NONE:
        return
    if not request.functions:
        raise invalid("function_call", "only 'none' is allowed when no functions are given.")
    if kind == "name" and choice.name not in {function.name for function in request.functions}:
        raise invalid("function_call", f"no function has the name {safe_repr(choice.name)}.")


def check_format(request: v1.ChatCompletionRequest) -> None:
    """Checks the type of the response format.

    Raises:
        ChatError: 400 on `response_format` if the type is missing, if the type `json_schema` lacks the field
            `json_schema`, or if a response format of another type has this field.
    """
    if not request.HasField("response_format"):
        return
    response_format = request.response_format
    if not response_format.type:
        raise invalid("response_format", "a response format must have a type.")
    if (response_format.type == v1.RESPONSE_FORMAT_TYPE_JSON_SCHEMA) != response_format.HasField("json_schema"):
        raise invalid("response_format", "json_schema is required for, and only for, the type 'json_schema'.")


def check_structured_outputs(request: v1.ChatCompletionRequest) -> None:
    """Checks that `structured_outputs` has exactly one rule, and that the rule is not too large.

    Also checks that no string of `choice` is empty, and that `response_format` is absent or of type `text`.

    Raises:
        ChatError: 400 on `structured_outputs`, or on the field in `structured_outputs` that is out of bounds.
    """
    if not request.HasField("structured_outputs"):
        return
    rules = request.structured_outputs
    names = [name for name in STRUCTURES if (rules.choice if name == "choice" else rules.HasField(name))]
    if len(names) != 1:
        message = f"expected exactly one of {', '.join(STRUCTURES)}, got {', '.join(names) or 'none'}."
        raise invalid("structured_outputs", message)
    if request.response_format.type not in (v1.RESPONSE_FORMAT_TYPE_UNSPECIFIED, v1.RESPONSE_FORMAT_TYPE_TEXT):
        raise invalid("structured_outputs", "only allowed when response_format is absent or of type 'text'.")
    path = f"structured_outputs.{names[0]}"
    if len(rules.choice) > MAX_CHOICES:
        raise invalid(path, f"at most {MAX_CHOICES} strings are allowed, got {len(rules.choice)}.")
    if "" in rules.choice:
        raise invalid(path, "a choice must not be empty.")
    size = sum(len(text.encode()) for text in (rules.regex, rules.grammar, *rules.choice))
    if size > MAX_RULE_BYTES:
        raise invalid(path, f"at most {MAX_RULE_BYTES} bytes are allowed, got {size}.")
