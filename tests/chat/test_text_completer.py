"""Text completions of a session: what the model's settings rule out, and grammars without a tool format's frame."""

from __future__ import annotations

import pytest

from jaxchat import v1
from jaxchat.chat.grammar.constraint import output_constraint, text_constraint
from jaxchat.chat.grammar.lark import LarkWriter
from jaxchat.chat.request.tool_choice import ToolChoice
from jaxchat.chat.tools.format import default_tool_format
from jaxchat.chat.tools.harmony import HARMONY
from jaxchat.client import Client
from jaxchat.client.local import LocalTransport
from jaxchat.errors import ChatError
from tests.contract.echo import echo_session


def test_prompts_are_not_scored_where_log_probabilities_are_processed() -> None:
    session, _ = echo_session(raw_logprobs=False)
    with Client(LocalTransport(session)) as client:
        for stream in (False, True):
            with pytest.raises(ChatError, match="raw") as caught:
                client.completions.create(prompt="ab", echo=True, logprobs=0, stream=stream)
            assert (caught.value.http_status, caught.value.param) == (400, "echo")
        assert client.completions.create(prompt="ab", echo=True).choices[0].text == "ab"
        assert client.completions.create(prompt="ab", logprobs=0).choices[0].logprobs


@pytest.mark.parametrize(
    "fields",
    [
        {"structured_outputs": v1.StructuredOutputs(regex="a+")},
        {"response_format": v1.ResponseFormat(type=v1.RESPONSE_FORMAT_TYPE_JSON_OBJECT)},
        {
            "response_format": v1.ResponseFormat(
                type=v1.RESPONSE_FORMAT_TYPE_JSON_SCHEMA,
                json_schema=v1.JsonSchemaFormat(name="a", schema='{"type": "integer"}'),
            )
        },
    ],
)
def test_grammars_of_texts_have_no_frame_of_the_tool_format(fields: dict) -> None:
    request = v1.ChatCompletionRequest(**fields, messages=[v1.ChatMessage(role=v1.ROLE_USER, text="json")])
    constraint = text_constraint(request)
    framed = output_constraint(request, ToolChoice())
    assert constraint and framed
    plain = framed.grammar(None, default_tool_format(), LarkWriter())
    assert constraint.grammar(None, HARMONY, LarkWriter()) == plain != framed.grammar(None, HARMONY, LarkWriter())


def test_texts_without_rules_have_no_grammar() -> None:
    text = v1.ResponseFormat(type=v1.RESPONSE_FORMAT_TYPE_TEXT)
    assert text_constraint(v1.ChatCompletionRequest(response_format=text)) is None
