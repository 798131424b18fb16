"""The variables that a template reads from outside."""

from __future__ import annotations

import jinja2
import pytest
from jinja2 import meta

from jaxchat.chat.prompt.environment import TemplateProgram
from tests.chat.templates import NAMES, source

FREE = {
    "{{ a }}{{ b.c }}{{ d['e'] }}{{ f | default(g) }}": "a b d f g",
    "{% if a is defined and a %}x{% elif b %}{{ c }}{% else %}{{ d }}{% endif %}": "a b c d",
    "{% set a = 1 %}{{ a }}{% set b = b or 2 %}{{ b }}": "b",
    "{% if x %}{% set a = 1 %}{% else %}{% set a = 2 %}{% endif %}{{ a }}": "x",
    "{% if x %}{% set a = 1 %}{% elif y %}{% set a = 2 %}{% else %}{% set a = 3 %}{% endif %}{{ a }}": "x y",
    "{% if x %}{% set a = 1 %}{% endif %}{{ a }}": "x a",
    "{% if not a is defined %}{% set a = 'x' %}{% endif %}{{ a }}": "a",
    "{% if x %}{% set a = 1 %}{% else %}{{ raise_exception('no') }}{% endif %}{{ a }}": "x raise_exception",
    "{% for i in items if i > least %}{{ i }}{{ loop.index }}{% set a = i %}{% endfor %}{{ a }}": "items least a",
    "{% for k, v in items %}{{ k }}{{ v }}{% else %}{{ b }}{% endfor %}{{ k }}": "items b k",
    "{% set n = namespace(a=1) %}{% for i in items %}{% set n.a = i %}{% endfor %}{{ n.a }}": "namespace items",
    "{% macro m(p, q=d) %}{{ p ~ q ~ a ~ late ~ kwargs }}{% endmacro %}{% set late = 1 %}{{ m(x) }}": "d a x",
    "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}{{ a }}{% endcall %}": "a",
    "{% set a %}{{ b }}{% endset %}{{ a }}{% filter upper %}{{ c }}{% endfilter %}": "b c",
    "{% with a = b %}{{ a }}{% endwith %}{{ a }}": "b a",
    "{% generation %}{{ a }}{% endgeneration %}{{ 'x' if b else c }}": "a b c",
}


@pytest.mark.parametrize("template", FREE)
def test_the_names_that_are_read_before_they_are_set(template: str) -> None:
    assert TemplateProgram(template).reads == set(FREE[template].split())


@pytest.mark.parametrize("template", FREE)
def test_a_value_from_outside_is_read(template: str) -> None:
    """Jinja itself looks up every one of these names in the context."""
    read = meta.find_undeclared_variables(TemplateProgram(template).template.environment.parse(template))
    assert TemplateProgram(template).reads - jinja2.defaults.DEFAULT_NAMESPACE.keys() - {"raise_exception"} <= read


def test_templates_of_families() -> None:
    owned = {"messages", "tools", "add_generation_prompt", "bos_token", "eos_token", "raise_exception", "namespace"}
    found = {name: TemplateProgram(source(name)).reads - owned - {"range", "strftime_now"} for name in NAMES}
    named = {name: " ".join(names) for name, names in found.items() if names}
    assert named == {
        "harmony": "reasoning_effort",
        "llama3": "date_string",
        "mistral": "system_message",
        "qwen": "enable_thinking",
    }
