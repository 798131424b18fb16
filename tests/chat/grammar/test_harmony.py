"""The grammar of messages to channels."""

from __future__ import annotations

import random

import pytest

from jaxchat import v1
from jaxchat.chat.response.choice import ChoiceBuilder, ChoiceOptions
from jaxchat.chat.tools.harmony import HARMONY
from jaxchat.types import TokenEvent
from tests.chat.grammar.test_tool_calls import TOOLS, tool_request
from tests.chat.grammar.test_tool_writer import follows, grammars, tokenizer
from tests.chat.grammar.walking import allowed, constraint_of, empty_row

THOUGHT = "<|channel|>analysis<|message|>So {.<|end|><|start|>assistant"
TEXT = "<|channel|>final<|message|>So { be it."
PING = "<|channel|>commentary to=functions.ping <|constrain|>json<|message|>{}"


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        (TEXT, {"auto", "none"}),
        (THOUGHT + TEXT, {"auto", "none"}),
        (PING, {"auto", "required"}),
        (THOUGHT * 2 + PING, {"auto"}),
        (THOUGHT.replace("analysis", "commentary") + PING, {"auto"}),
        ("So be it.", set()),
        (THOUGHT, set()),
        (PING + "x", set()),
        (PING.replace("ping", "pong"), set()),
        (PING.replace("{}", '{"a": 1}'), set()),
        (PING + PING, set()),
    ],
)
def test_what_each_choice_allows(text: str, choices: set[str]) -> None:
    found = {
        choice for choice in ("auto", "none", "required") if follows("harmony", True, tool_request(choice=choice), text)
    }
    assert found == choices


def test_json_goes_to_the_user() -> None:
    request = v1.ChatCompletionRequest()
    request.messages.add(role=v1.ROLE_USER, text="JSON")
    request.response_format.type = v1.RESPONSE_FORMAT_TYPE_JSON_OBJECT
    answer = '<|channel|>final<|message|>{"a": 1}'
    for text, follow in ((answer, True), (THOUGHT + answer, True), (answer[:-1], False), ('{"a": 1}', False)):
        assert follows("harmony", True, request, text) == follow


def test_random_forced_answers_are_read_as_the_calls_they_are() -> None:
    known, names = tokenizer(True), set()
    for seed in range(12):
        chance, row = random.Random(seed), empty_row(known, 0)
        grammar = grammars("harmony", True).compiled(constraint_of(tool_request({"node": TOOLS["node"], "ping": None})))
        constraint = grammar.start()
        builder = ChoiceBuilder(known, ChoiceOptions(calls=HARMONY, forced=True))
        for _ in range(100):
            constraint.fill(row)
            ids = list(allowed(row))
            token = int(chance.choice(ids))
            constraint.accept(token)
            stops = token in known.stop_tokens
            builder.feed(TokenEvent(0, 0, token, "stop" if stops else None, 0.0, None))
            if stops:
                assert builder.reason == v1.FINISH_REASON_TOOL_CALLS
                break
        delta = builder.take()
        assert not delta.text
        names |= {call.name for call in delta.calls if call.name}
    assert names == {"node", "ping"}
