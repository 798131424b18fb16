"""Writes calls as the models of each format do, independently of the formats' descriptions in the package."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Calls = list[tuple[str, dict[str, Any]]]


def dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def plain(value: Any) -> str:
    """Returns a value as formats with tags write it: a string without quotes, any other value as JSON."""
    return value if isinstance(value, str) else dumps(value)


def objects(calls: Calls, key: str = "arguments") -> list[str]:
    return [dumps({"name": name, key: arguments}) for name, arguments in calls]


def in_order(name: str, calls: Calls) -> Calls:
    """Returns calls with their arguments in the order in which models of the format `name` write them."""

    def ordered(value: Any) -> Any:
        return {key: ordered(value[key]) for key in sorted(value)} if isinstance(value, dict) else value

    return [(called, ordered(given)) for called, given in calls] if name in SORTED else calls


def qwen3_coder(calls: Calls) -> str:
    return "\n".join(
        f"<tool_call>\n<function={name}>\n"
        + "".join(f"<parameter={key}>\n{plain(value)}\n</parameter>\n" for key, value in arguments.items())
        + "</function>\n</tool_call>"
        for name, arguments in calls
    )


def python(calls: Calls) -> str:
    literals = {"true": "True", "false": "False", "null": "None"}
    parts = [
        f"{name}({', '.join(f'{key}={literals.get(dumps(value), dumps(value))}' for key, value in given.items())})"
        for name, given in calls
    ]
    return f"[{', '.join(parts)}]"


def deepseek(calls: Calls, before: str, middle: str, end: str, between: str) -> str:
    parts = [
        f"<｜tool▁call▁begin｜>{before}{name}{middle}{dumps(given)}{end}<｜tool▁call▁end｜>" for name, given in calls
    ]
    return f"<｜tool▁calls▁begin｜>{between.join(parts)}<｜tool▁calls▁end｜>"


def kimi(calls: Calls) -> str:
    parts = [
        f"<|tool_call_begin|>functions.{name}:{number}<|tool_call_argument_begin|>{dumps(given)}<|tool_call_end|>"
        for number, (name, given) in enumerate(calls, 3)
    ]
    return f"<|tool_calls_section_begin|>{''.join(parts)}<|tool_calls_section_end|>"


def glm(calls: Calls, line: str) -> str:
    return line.join(
        f"<tool_call>{name}{line}"
        + "".join(
            f"<arg_key>{key}</arg_key>{line}<arg_value>{plain(value)}</arg_value>{line}" for key, value in given.items()
        )
        + "</tool_call>"
        for name, given in calls
    )


def minimax(calls: Calls) -> str:
    parts = "".join(
        f'<invoke name="{name}">\n'
        + "".join(f'<parameter name="{key}">{plain(value)}</parameter>\n' for key, value in given.items())
        + "</invoke>\n"
        for name, given in calls
    )
    return f"<minimax:tool_call>\n{parts}</minimax:tool_call>"


def seed(calls: Calls) -> str:
    return "\n".join(
        f"<seed:tool_call>\n<function={name}>\n"
        + "".join(f"<parameter={key}>{plain(value)}</parameter>\n" for key, value in given.items())
        + "</function>\n</seed:tool_call>"
        for name, given in calls
    )


def dsml(calls: Calls, block: str) -> str:
    parts = []
    for name, given in calls:
        values = "".join(
            f'<｜DSML｜parameter name="{key}" string="{str(isinstance(value, str)).lower()}">{plain(value)}'
            "</｜DSML｜parameter>\n"
            for key, value in given.items()
        )
        parts.append(f'<｜DSML｜invoke name="{name}">\n{values}</｜DSML｜invoke>\n')
    return f"<｜DSML｜{block}>\n{''.join(parts)}</｜DSML｜{block}>"


def action(calls: Calls) -> str:
    """Returns calls as the first Command R writes them: JSON over several lines."""
    listed = json.dumps(
        [{"tool_name": name, "parameters": given} for name, given in calls], indent=4, ensure_ascii=False
    )
    return f"Action:\n```json\n{listed}```"


def command_r7b(calls: Calls) -> str:
    parts = [
        f"    {dumps({'tool_call_id': str(number), 'tool_name': name, 'parameters': given})}"
        for number, (name, given) in enumerate(calls)
    ]
    return "<|START_ACTION|>[\n" + ",\n".join(parts) + "\n]<|END_ACTION|>"


def mcp(calls: Calls) -> str:
    parts = [
        f"\n<server_name>s-1</server_name>\n<tool_name>{name}</tool_name>\n<arguments>\n{dumps(given)}\n</arguments>"
        for name, given in calls
    ]
    return f"<use_mcp_tool>{''.join(parts)}\n</use_mcp_tool>"


def gemma(value: Any) -> str:
    """Returns a value as Gemma 4 writes it."""
    if isinstance(value, str):
        return f'<|"|>{value}<|"|>'
    if isinstance(value, list):
        return "[" + ",".join(gemma(item) for item in value) + "]"
    if isinstance(value, dict):
        keys = {key: key if key.isidentifier() else f'"{key}"' for key in value}
        return "{" + ",".join(f"{keys[key]}:{gemma(value[key])}" for key in value) + "}"
    return "None" if value is None else dumps(value)


SPELLINGS: dict[str, Callable[[Calls], str]] = {
    "hermes": lambda calls: "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in objects(calls)),
    "llama3": lambda calls: objects(calls, "parameters")[0],
    "mistral": lambda calls: f"[TOOL_CALLS] [{', '.join(objects(calls))}]",
    "mistral-nemo": lambda calls: f"[TOOL_CALLS][{', '.join(objects(calls))}]",
    "mistral-args": lambda calls: "".join(f"[TOOL_CALLS]{name}[ARGS]{dumps(given)}" for name, given in calls),
    "mistral-call-id": lambda calls: "".join(
        f"[TOOL_CALLS]{name}[CALL_ID]a1B2c3D4e[ARGS]{dumps(given)}" for name, given in calls
    ),
    "pythonic": python,
    "lfm2": lambda calls: f"<|tool_call_start|>{python(calls)}<|tool_call_end|>",
    "json-list": lambda calls: f"[{', '.join(objects(calls))}]",
    "apriel": lambda calls: f"<tool_calls>[{', '.join(objects(calls))}]</tool_calls>",
    "phi4-mini": lambda calls: f"<|tool_call|>[{', '.join(objects(calls))}]<|/tool_call|>",
    "granite": lambda calls: f"<|tool_call|>[{', '.join(objects(calls))}]",
    "functools": lambda calls: f"functools[{', '.join(objects(calls))}]",
    "functionary": lambda calls: "".join(f"<function={name}>{dumps(given)}</function>" for name, given in calls),
    "deepseek-v3.1": lambda calls: deepseek(calls, "", "<｜tool▁sep｜>", "", ""),
    "deepseek-r1": lambda calls: deepseek(calls, "function<｜tool▁sep｜>", "\n```json\n", "\n```", "\n"),
    "functionary-3.2": lambda calls: ">>>".join(f"{name}\n{dumps(given)}" for name, given in calls),
    "apertus": lambda calls: f"<|tools_prefix|>{dumps([{name: given} for name, given in calls])}<|tools_suffix|>",
    "command-r": action,
    "command-r7b": command_r7b,
    "gigachat-3": lambda calls: f"function call<|role_sep|>\n{objects(calls)[0]}",
    "gigachat-3.1": lambda calls: f"<|function_call|>{objects(calls)[0]}",
    "mcp": mcp,
    "deepseek-v3.2": lambda calls: dsml(calls, "function_calls"),
    "deepseek-v4": lambda calls: dsml(calls, "tool_calls"),
    "gemma-4": lambda calls: "".join(f"<|tool_call>call:{name}{gemma(given)}<tool_call|>" for name, given in calls),
    "kimi-k2": kimi,
    "glm-4.5": lambda calls: glm(calls, "\n"),
    "glm-4.7": lambda calls: glm(calls, ""),
    "minimax-m2": minimax,
    "seed-oss": seed,
    "qwen3-coder": qwen3_coder,
}
SORTED = ("gemma-4",)  # arguments in the order of their names
VALUE_ENDS = {  # ends of values that are text, with what follows, which chance alone would hardly ever write
    "glm-4.5": ("</arg_value>\n<arg_key>", "</arg_value>\n</tool_call>"),
    "glm-4.7": ("</arg_value><arg_key>", "</arg_value></tool_call>"),
    "minimax-m2": ('</parameter>\n<parameter name="', "</parameter>\n</invoke>\n"),
    "seed-oss": ("</parameter>\n<parameter=", "</parameter>\n</function>\n"),
    "qwen3-coder": ("\n</parameter>\n<parameter=", "\n</parameter>\n</function>\n"),
    "deepseek-v3.2": ('</｜DSML｜parameter>\n<｜DSML｜parameter name="', "</｜DSML｜parameter>\n</｜DSML｜invoke>\n"),
    "deepseek-v4": ('</｜DSML｜parameter>\n<｜DSML｜parameter name="', "</｜DSML｜parameter>\n</｜DSML｜invoke>\n"),
    "gemma-4": ('<|"|>',),
}
SINGLE = ("llama3", "gigachat-3", "gigachat-3.1")  # one call at most
WHOLE = ("llama3", "json-list", "pythonic", "functionary-3.2")  # calls are the complete answer
