"""Text completions of a session: what the model's settings rule out, and grammars without a tool format's frame."""

from __future__ import annotations

from pathlib import Path

import pytest

from jaxchat import v1
from jaxchat.chat.context import Record
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


class Ends:
    """An observer that keeps the records of requests that ended."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def tokens(self, record: Record, count: int, gap: float | None) -> None:
        pass

    def finished(self, record: Record) -> None:
        self.records.append(record)


@pytest.mark.parametrize("stream", [False, True])
def test_completions_of_no_tokens_are_observed_with_their_ends(stream: bool) -> None:
    session, _ = echo_session()
    session.observers.append(ends := Ends())
    with Client(LocalTransport(session)) as client:
        answer = client.completions.create(prompt=["ab", "c"], n=2, max_tokens=0, stream=stream)
        parts = list(answer) if stream else [answer]
        reasons = [choice.finish_reason for part in parts for choice in part.choices]
    assert reasons == ["length"] * 4 == list(ends.records[0].finish_reasons)


def test_scored_prompts_are_observed(tiny_client: Client) -> None:
    observers = tiny_client.transport.session.observers
    observers.append(ends := Ends())
    tiny_client.completions.create(prompt=[[5, 6, 7], [8], [9, 10]], echo=True, logprobs=0, max_tokens=0)
    observers.remove(ends)
    assert (ends.records[0].scored_tokens, ends.records[0].completion_tokens) == (5, 0)


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


def test_the_scores_of_a_prompt_are_those_of_transformers(tiny_client: Client, tiny_model: Path) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    prompt = "The quick brown fox, caf\u00e9 <|im_end|> jumps over " * 4
    answer = tiny_client.completions.create(prompt=prompt, echo=True, logprobs=3, max_tokens=0)
    entries, known = answer.choices[0].logprobs.entries, tiny_client.transport.session.info.vocab
    ids = torch.tensor([[entry.token_id for entry in entries]])
    model = transformers.LlamaForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    with torch.no_grad():
        expected = torch.log_softmax(model(ids).logits[0, :, :known].double(), -1)
    for place, entry in enumerate(entries[1:]):
        assert entry.logprob == pytest.approx(expected[place, entry.token_id].item(), abs=1e-3)
        likeliest = [top.logprob for top in entry.top_logprobs]
        assert likeliest == pytest.approx(expected[place].topk(3).values.tolist(), abs=1e-3)
