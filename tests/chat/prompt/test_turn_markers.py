"""Added tokens that are not special, but open and close turns, are control tokens; learned text is not."""

from __future__ import annotations

import pytest

from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.prompt.turn_markers import turn_markers

LEARNED = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "<b>", "\n\n", "\u2581\u2581", "im"]
TURNS = {
    "brackets": ("[INST] {user} [/INST]{assistant}", {"[INST]", "[/INST]"}),
    "tags": ("<turn>user\n{user}</turn><turn>model\n{assistant}</turn>", {"<turn>", "</turn>"}),
    "pairs of tags": ("<user>{user}</user><bot>{assistant}</bot>", {"<user>", "</user>", "<bot>", "</bot>"}),
    "bars": ("<\uff5cUser\uff5c>{user}<\uff5cBot\uff5c>{assistant}", {"<\uff5cUser\uff5c>", "<\uff5cBot\uff5c>"}),
}
SYSTEM_REFUSED = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"


def template(turns: str, extra: str = "") -> ChatTemplate:
    user, _, assistant = turns.replace("{user}", "{{ m.content }}").partition("{{ m.content }}")
    before, _, after = assistant.partition("{assistant}")
    source = (
        f"{{% for m in messages %}}{{% if m.role == 'assistant' %}}{before}{extra}{{{{ m.content }}}}{after}"
        f"{{% else %}}{user}{{{{ m.content }}}}{{% endif %}}{{% endfor %}}{before}<think>\n"
    )
    return ChatTemplate(source, {})


@pytest.mark.parametrize("system", ["", SYSTEM_REFUSED])
@pytest.mark.parametrize("form", TURNS)
def test_the_tokens_around_turns_are_found(form: str, system: str) -> None:
    turns, expected = TURNS[form]
    source = template(turns, "<think>\n\n</think>\n\n").source + "{{ '<tool_call>' + '</tool_call>' if tools }}"
    assert turn_markers(ChatTemplate(system + source, {}), [*LEARNED, *expected]) == expected


def test_tokens_whose_spelling_the_template_puts_together_are_found() -> None:
    source = "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{% endfor %}{% if tools %}[TOOLS]{% endif %}"
    tokens = {"<|user|>", "<|assistant|>", "<|system|>", "[TOOLS]"}
    assert turn_markers(ChatTemplate(source, {}), [*LEARNED, *tokens, "<|fim|>"]) == tokens
