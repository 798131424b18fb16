"""What a template may do to the text of messages is read from its source."""

from __future__ import annotations

import pytest

from jaxchat.chat.prompt.text_changes import TextChanges, text_changes
from tests.chat.templates import NAMES, source

CUTS = {
    "{{ m.content }}": "",
    "{{ 'user' + '\\n' + '<|end|>' }}": "<|end|>",
    "{{ m.content.split('</think>')[-1].lstrip('\\n') }}": "</think> \n",
    "{{ m.content | replace('x', '') }}": "x",
    "{{ m.content.removeprefix('a').partition('b')[0] }}": "a b",
    "{{ m.content | trim }}{{ m.content.strip('#*') }}": "#* # *",
    "{% generation %}{% break %}{% endgeneration %}{% if '[a]' in m %}{% endif %}": "[a]",
}


@pytest.mark.parametrize("template", CUTS)
def test_strings_at_which_text_is_cut(template: str) -> None:
    expected = frozenset(CUTS[template].split(" ")) - {""}
    assert text_changes(template) == TextChanges(expected)


@pytest.mark.parametrize(
    "template",
    ["{{ m.content | lower }}", "{{ m.content.upper() }}", "{% filter title %}{% endfilter %}", "{{ x | capitalize }}"],
)
def test_changes_of_case(template: str) -> None:
    assert text_changes(template).case


def test_templates_of_families_change_no_case() -> None:
    assert not any(text_changes(source(name)).case for name in NAMES)
