"""The comparison of chat templates: what is equal, what a rule explains, and what it finds if jaxchat is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jaxchat.chat.prompt import template as prompt_template
from tests import tiny
from tools.templates import __main__ as command
from tools.templates.compare import Comparison
from tools.templates.conversations import battery
from tools.templates.engines import Jaxchat, plain_form
from tools.templates.sources import Source, find_sources, write_model
from tools.templates.table import Row, table

HEAD = "{% for m in messages %}<|im_start|>{{ m.role }}\n"
NAMES = "{{ m.name ~ ': ' if m.name and m.role != 'tool' }}"
CALLS = "{% for c in m.tool_calls or [] %}<tool_call>\n{{ c.function | tojson }}\n</tool_call>{% endfor %}"
END = "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
TOOLS = "{# <tool_call>\n{\"name\": #}{{ tools | tojson if tools else '' }}"
FULL = TOOLS + HEAD + NAMES + "{{ m.content or '' }}" + CALLS + END
PLAIN = HEAD + "{{ m.content }}" + END


def row(folder: Path, template: str) -> Row:
    (folder / "one.jinja").write_text(template)
    (source,) = find_sources([folder])
    return command.row_of(source, folder / "model")


def statuses(found: Row) -> dict[str, Comparison]:
    return {comparison.conversation: comparison for comparison in found.comparisons}


def test_the_battery_is_large_and_its_names_differ() -> None:
    names = [conversation.name for conversation in battery("<|im_end|>")]
    assert len(set(names)) == len(names) >= 34
    for conversation in battery("<|im_end|>"):
        assert "<|im_end|>" not in json.dumps(conversation.harmless().messages)
        assert bool(conversation.control) == ("<|im_end|>" in json.dumps(conversation.messages))


def test_a_template_that_shows_everything_is_equal_except_for_rules_that_always_apply(tmp_path: Path) -> None:
    found = row(tmp_path, FULL)
    assert found.explained and found.tool_format == "hermes" and found.calls_read == "yes"
    by_rule = {name: each.rules for name, each in statuses(found).items() if each.status != "equal"}
    empty = dict.fromkeys(("arguments ''", "arguments null"), ("empty arguments",))
    assert by_rule == empty | {"parallel calls": ("results in the order of the calls",)}


def test_rules_explain_what_a_template_does_not_show(tmp_path: Path) -> None:
    found = row(tmp_path, PLAIN)
    each = statuses(found)
    assert found.explained and found.calls_read == "not shown" and len(found.needed) == 2
    assert each["turns"].status == each["control in all"].status == "equal"
    assert each["tools"].rules == ("tools in text",)
    assert each["call"].rules[:2] == ("tools in text", "calls in text")
    assert each["named user"].rules == ("name before content",)


def test_a_part_that_is_left_out_explains_a_refusal(tmp_path: Path) -> None:
    found = row(tmp_path, FULL.replace("<|im_start|>{{ m.role", "{% if m.role == 'system' and not loop.first %}"
                                       "{% continue %}{% endif %}<|im_start|>{{ m.role"))  # fmt: skip
    late = statuses(found)["late system"]
    assert found.explained and late.status == "by rule" and late.ours.param == "messages.2.role"


BREAKAGES: dict[str, Any] = {
    "text is lost": lambda text: text.replace("Good day.", ""),
    "text is added": lambda text: text + "\n",
    "a control token is added": lambda text: text.replace("Hello", "<|im_end|>Hello"),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_wrong_prompt_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breakage: str) -> None:
    render = prompt_template.ChatTemplate.render

    def broken(self: prompt_template.ChatTemplate, *data: Any, **settings: Any) -> str:
        return BREAKAGES[breakage](render(self, *data, **settings))

    monkeypatch.setattr(prompt_template.ChatTemplate, "render", broken)
    found = row(tmp_path, FULL)
    assert not found.explained and statuses(found)["turns"].status == "differs"
    assert any("turns" in line for line in command.differences(found))


def test_a_rule_without_need_is_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = prompt_template.probe_traits
    hides = lambda *args, **options: replace(probe(*args, **options), tools="text")  # noqa: E731
    monkeypatch.setattr(prompt_template, "probe_traits", hides)
    each = statuses(row(tmp_path, FULL))
    assert each["tools"].status == "differs" and each["tools"].rules == ("tools in text",)
    assert each["turns"].status == "equal"


def test_a_template_that_neither_can_load_needs_nothing(tmp_path: Path) -> None:
    found = row(tmp_path, "{% if %}")
    assert found.explained and "not valid Jinja" in found.needed[0] and not found.comparisons


def test_a_models_directory_keeps_its_own_tokenizer(tmp_path: Path) -> None:
    model = tmp_path / "models" / "mine"
    model.mkdir(parents=True)
    (model / "tokenizer.json").write_text(tiny.tokenizer_json())
    (model / "tokenizer_config.json").write_text(json.dumps({"chat_template": FULL, "eos_token": "<|im_end|>"}))
    (source,) = find_sources([tmp_path / "models"])
    assert source == Source("mine", model) and find_sources([model]) == [source]
    write_model(source, tmp_path / "copy")
    assert Jaxchat(tmp_path / "copy").control() == "<|im_start|>"
    assert (tmp_path / "copy" / "tokenizer.json").read_text() == tiny.tokenizer_json()


def test_folders_without_templates_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="neither"):
        find_sources([tmp_path])


def test_the_plain_form_is_that_of_transformers() -> None:
    forms = {each.name: plain_form(each)[0] for each in battery("<|im_end|>")}
    assert forms["developer"][0]["role"] == "system"
    assert forms["parts"][0]["content"] == "One two three"
    assert "content" not in forms["call"][1]
    assert forms["call"][1]["tool_calls"][0]["function"]["arguments"] == {"city": "Oslo"}
    assert forms["arguments of a string"][1]["tool_calls"][0]["function"]["arguments"] == '"Oslo"'


def test_the_exit_status_tells_of_unexplained_differences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.jinja").write_text(PLAIN)
    monkeypatch.setattr("sys.argv", ["tools.templates", str(tmp_path), "--show"])
    assert command.main() == 0 and "1 templates, 0 with unexplained" in capsys.readouterr().out
    monkeypatch.setattr(command, "reads_calls", lambda *_: "no")
    monkeypatch.setattr(command, "compare_all", lambda *_: [])
    assert command.main() == 1 and "1 with unexplained differences: one" in capsys.readouterr().out


def test_a_row_of_the_table() -> None:
    lines = table([Row(name="a|b", needed=["x"], tool_format="hermes", calls_read="yes")]).splitlines()
    assert lines[2] == "| a\\|b | 0/0 | 0 |  |  |  | hermes | yes | x |"
