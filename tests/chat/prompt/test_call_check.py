"""A tool format that is detected by its markers must read the call that the template writes."""

from __future__ import annotations

import pytest

from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.tools.format import TOOL_FORMATS, UNKNOWN, ToolFormat

OBJECT = "{{ c.function | tojson }}"
HERMES = f"<tool_call>\n{OBJECT}\n</tool_call>"
INSIDE_A_LIST = f"<tool_call>\n[{OBJECT}]\n</tool_call>"  # as Falcon 3 writes
NAME_FIRST = "<tool_call>{{ c.function.name }}\n{{ c.function.arguments | tojson }}</tool_call>"
PRINTED = '<tool_call>\n{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments }}}\n</tool_call>'
BEGIN = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


def detected(call: str, begin: str = BEGIN, tool_format: str = "auto") -> ToolFormat:
    """Returns the tool format of a template that writes calls so."""
    source = (
        "{% for t in tools or [] %}{{ t | tojson }}\n{% endfor %}"
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}"
        f"{{% for c in m.tool_calls or [] %}}{call}{{% endfor %}}<|im_end|>\n{{% endfor %}}{begin}"
    )
    return ChatTemplate(source, {}, tool_format=tool_format).tool_format


@pytest.mark.parametrize("begin", [BEGIN, ""], ids=["generation prompt", "none"])
def test_a_format_that_reads_the_call_stays(begin: str) -> None:
    assert detected(HERMES, begin) is TOOL_FORMATS.get("hermes")


@pytest.mark.parametrize("begin", [BEGIN, ""], ids=["generation prompt", "none"])
@pytest.mark.parametrize("call", [INSIDE_A_LIST, NAME_FIRST], ids=["list", "name first"])
def test_a_format_that_does_not_read_it_is_unknown(call: str, begin: str) -> None:
    assert detected(call, begin) is UNKNOWN


def test_a_named_format_is_not_questioned() -> None:
    assert detected(INSIDE_A_LIST, tool_format="hermes") is TOOL_FORMATS.get("hermes")


def test_history_in_the_notation_of_python_tells_nothing() -> None:
    assert detected(PRINTED) is TOOL_FORMATS.get("hermes")
