"""Templates that need more than a function holds, or cannot print a list of types."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.prompt.template_traits import TemplateTraits
from jaxchat.chat.prompt.tool_forms import tool_in_form
from tests.chat.prompt.rendering import ASKED, END, LOOP, TOOLS

MESSAGES = LOOP + "{{ m.content }}" + END
EACH = (
    "{% for t in tools or [] %}{{ t.function.name }}("
    "{% for k, v in t.function.parameters.properties.items() %}{{ k + VALUE }}{% endfor %}){% endfor %}"
)
TYPES = "{% macro kind(s) %}{% if s.type == 'string' %}str{% elif s.type %}{{ kind(s) }}{% endif %}{% endmacro %}"


def tool(schema: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"city": schema}}
    return {"type": "function", "function": {"name": "f", "description": "d", "parameters": parameters}}


@pytest.mark.parametrize("schema", [{"type": "string"}, {"type": "string", "description": "town"}])
def test_a_parameter_may_lack_a_description(schema: dict[str, Any]) -> None:
    template = ChatTemplate(EACH.replace("VALUE", "': ' + v.description") + MESSAGES, {})
    assert template.traits.fills_functions == "parameters too"
    shown = template.render([ASKED], [tool(schema), {"type": "function", "function": {"name": "g"}}])
    assert shown == f"f(city: {schema.get('description', '')})g()[user]Weather in Oslo?"


def test_parameters_stay_as_they_are_where_functions_alone_need_more() -> None:
    template = ChatTemplate(EACH.replace("VALUE", "(v | tojson)") + MESSAGES, {})
    assert template.traits.fills_functions == "functions"
    assert template.render([ASKED], [tool({"type": "string"})]).startswith('f(city{"type": "string"})')


def test_a_list_of_types_becomes_any_of_where_the_template_cannot_print_it() -> None:
    template = ChatTemplate(TYPES + EACH.replace("VALUE", "kind(v) + (v | tojson)") + MESSAGES, {})
    shown = template.render([ASKED], [tool({"type": ["string", "null"]})])
    assert shown.startswith('f(city{"anyOf": [{"type": "string"}, {"type": "null"}]})')
    assert template.render([ASKED], [tool({"type": "string"})]).startswith('f(citystr{"type": "string"})')


SCHEMA = {
    "type": ["object", "null"],
    "properties": {
        "type": {"type": ["integer", "string"], "minimum": 3, "default": {"type": ["kept"]}},
        "rows": {"type": "array", "items": {"type": ["number", "null"]}},
        "either": {"anyOf": [{"type": ["boolean", "null"]}, {"const": {"type": ["a", "b"]}}]},
    },
    "required": ["type"],
}


def test_any_of_means_the_same() -> None:
    traits = TemplateTraits(types_in_any_of=True)
    parameters = tool_in_form(tool(SCHEMA), traits)["function"]["parameters"]
    changed = parameters["properties"]["city"]
    assert changed["properties"]["type"]["default"] == {"type": ["kept"]}
    values = [None, 3, {}, {"type": 3}, {"type": 2}, {"type": "a"}, {"type": None}, {"type": 3, "rows": [1, None]}]
    values += [{"type": 3, "rows": ["a"]}, *({"type": 3, "either": each} for each in (None, 1, {"type": ["a", "b"]}))]
    for value in values:
        ours, theirs = (jsonschema.Draft202012Validator(schema).is_valid(value) for schema in (changed, SCHEMA))
        assert ours == theirs, value


def test_functions_stay_as_they_are_without_need() -> None:
    assert tool_in_form(tool(SCHEMA), TemplateTraits()) == tool(SCHEMA)


FUNCTIONS = {
    "description": "{% for t in tools or [] %}{{ t.function.name + ': ' + t.function.description }}{% endfor %}",
    "parameters": "{% for t in tools or [] %}{{ t.function.name }}{{ t.function.parameters | tojson }}{% endfor %}",
    "properties": (
        "{% for t in tools or [] %}{{ t.function.name }}"
        "{% for k, v in t.function.parameters.properties.items() %}{{ k }}{% endfor %}{% endfor %}"
    ),
}


@pytest.mark.parametrize("needs", FUNCTIONS)
@pytest.mark.parametrize("function", [{"name": "now"}, {"name": "now", "parameters": {"type": "object"}}])
def test_a_function_may_lack_description_and_parameters(needs: str, function: dict[str, Any]) -> None:
    template = ChatTemplate(FUNCTIONS[needs] + LOOP + "{{ m.content }}" + END, {})
    rendered = template.render([ASKED], [{"type": "function", "function": function}])
    assert rendered.startswith("now") and rendered.endswith("[user]Weather in Oslo?")


def test_a_function_is_not_completed_without_need() -> None:
    template = ChatTemplate(TOOLS + LOOP + "{{ m.content }}" + END, {})
    assert template.render([ASKED], [{"type": "function", "function": {"name": "now"}}]).startswith(
        '[{"type": "function", "function": {"name": "now"}}]'
    )
