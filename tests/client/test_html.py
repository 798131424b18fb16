"""What a notebook shows of answers with log-probabilities, chunks, models and clients."""

from __future__ import annotations

import math

import pytest

from jaxchat import Client, v1
from jaxchat.client import ChatCompletion, ChatCompletionChunk, TextCompletion, Tokenized
from jaxchat.client.models import ModelList
from tests.client.test_completion import CALL, COMPLETIONS, completion, message
from tests.test_html import HOSTILE, Parsed


def entry(token: str, share: float, token_id: int = 1, data: bytes | None = None, **others: float) -> v1.TokenLogprob:
    top = [
        v1.TopLogprob(token=name, logprob=math.log(p), token_id=90 + i) for i, (name, p) in enumerate(others.items())
    ]
    content = token.encode() if data is None else data
    return v1.TokenLogprob(token=token, logprob=math.log(share), bytes=content, token_id=token_id, top_logprobs=top)


def answer(*entries: v1.TokenLogprob, **fields) -> ChatCompletion:
    logprobs = v1.ChoiceLogprobs(content=entries)
    choice = v1.Choice(message=message(**{"content": "text", **fields}), logprobs=logprobs, finish_reason=1)
    return ChatCompletion.from_proto(completion(choice, seed_used=4))


def colours(html: str, tokens: int) -> list[float]:
    """Returns the opacity of each token's colour."""
    styles = [style for style in Parsed(html).styles if style.startswith("background-color:rgba")]
    return [float(style.split("rgba(230,156,67,")[1].split(")")[0]) for style in styles[:tokens]]


def test_an_answer_without_log_probabilities_is_markdown_alone() -> None:
    shown = ChatCompletion.from_proto(COMPLETIONS[0])
    assert shown._repr_html_() is None and shown.choices[0]._repr_html_() is None and shown._repr_markdown_()


def test_unlikely_tokens_are_coloured_more_strongly() -> None:
    shares = [0.95, 0.6, 0.3, 0.1, 0.01]
    html = answer(*[entry(f"t{i}", share) for i, share in enumerate(shares)])._repr_html_()
    opacities = colours(html, len(shares))
    assert opacities[0] == 0 and opacities == sorted(opacities) and len(set(opacities)) == 5


def test_a_token_shows_its_probability_and_its_alternatives() -> None:
    html = answer(entry(" Oslo", 0.75, 7, Rome=0.2, Paris=0.04))._repr_html_()
    assert html is not None
    title = Parsed(html).titles[0].split("\n")
    assert title[0].split() == ["␣Oslo", "75.0", "%", "(id", "7)"]
    assert [line.split() for line in title[1:]] == [["20.0", "%", "Rome"], ["4.00", "%", "Paris"]]


def test_texts_of_a_model_stay_texts() -> None:
    shown = answer(entry(HOSTILE, 0.5, **{HOSTILE: 0.5}), reasoning_content=HOSTILE, tool_calls=[CALL])
    for html in (shown._repr_html_(), shown.choices[0]._repr_html_(), shown.choices[0].logprobs._repr_html_()):
        assert html and "\n" not in html and "script" not in Parsed(html).tags
        assert "<script>" in Parsed(html).text
    (position,) = shown.choices[0].logprobs.content
    assert "script" not in Parsed(position._repr_html_()).tags and 'f({"x":1})' in Parsed(shown._repr_html_()).text


def test_a_token_within_a_character_is_shown_as_bytes_and_the_last_as_the_character() -> None:
    html = answer(entry("\\xc3", 0.5, data=b"\xc3"), entry("\\xa9", 0.5, data=b"\xa9"), entry("!", 0.5))._repr_html_()
    assert html is not None and Parsed(html).text.startswith("\\xc3é!")


def test_the_alternatives_of_a_token_are_a_table_with_the_sampled_one() -> None:
    (position,) = answer(entry("a", 0.01, 7, b=0.75, c=0.2)).choices[0].logprobs.content
    parsed = Parsed(position._repr_html_())
    assert parsed.tags.count("tr") == 4 and "a (sampled)71.00 %" in parsed.text and "b9075.0 %-0.2877" in parsed.text


def test_a_token_that_is_not_among_the_likeliest_has_no_number() -> None:
    unknown = v1.TokenLogprob(token="x", logprob=-9999, bytes=b"x", token_id=3)
    html = answer(unknown)._repr_html_()
    assert html is not None and "not among the 20 likeliest" in Parsed(html).titles[0] and colours(html, 1) == [0.5]


def test_choices_are_numbered_and_the_last_line_has_the_facts() -> None:
    parts = [
        v1.Choice(index=i, message=message(content="x"), logprobs=v1.ChoiceLogprobs(content=[entry("x", 1)]))
        for i in range(2)
    ]
    text = Parsed(ChatCompletion.from_proto(completion(*parts, seed_used=4))._repr_html_()).text
    assert "Choice 0" in text and "Choice 1" in text and text.endswith("m · None, None · 2 + 3 tokens · seed 4")


def test_a_chunk_shows_what_it_adds() -> None:
    delta = v1.Delta(content="<b>", tool_calls=[v1.ToolCallDelta(id="c", type=1, function={"name": "f"})])
    choice = v1.ChunkChoice(index=2, delta=delta, finish_reason=v1.FINISH_REASON_LENGTH)
    usage = v1.Usage(prompt_tokens=2, completion_tokens=3, total_tokens=5)
    proto = v1.ChatCompletionChunk(id="i", model="m", choices=[choice], usage=usage)
    parsed = Parsed(ChatCompletionChunk.from_proto(proto)._repr_html_())
    assert parsed.text == "Choice 2 <b>f finish reason length2 + 3 tokens"
    choice.logprobs.CopyFrom(v1.ChoiceLogprobs(content=[entry("<b>", 0.6)]))
    html = ChatCompletionChunk.from_proto(v1.ChatCompletionChunk(choices=[choice]))._repr_html_()
    assert colours(html, 1) == [0.12] and "Probability" not in html


def test_text_completions_and_token_ids_are_shown_too() -> None:
    first = v1.TextTokenLogprob(token="a", token_id=1, bytes=b"a")  # the first token of a prompt has no probability
    later = v1.TextTokenLogprob(token="b", token_id=2, bytes=b"b", logprob=-3)
    choice = v1.TextChoice(text="ab", logprobs=v1.TextLogprobs(tokens=[first, later]), finish_reason=1)
    html = TextCompletion.from_proto(v1.TextCompletion(model="m", choices=[choice]))._repr_html_()
    assert html is not None and Parsed(html).text.startswith("ab") and "not predicted" in Parsed(html).titles[0]
    assert colours(html, 2) == [0, 0.5 if math.exp(-3) < 0.05 else 0.37]
    ids = v1.TokenizeResponse(count=2, max_model_len=9, tokens=[5, 6], token_strs=["<a>", "\u0120b\u010a"])
    parsed = Parsed(Tokenized.from_proto(ids, with_names=True)._repr_html_())
    assert parsed.text == "<a>␣b↵2 of 9 tokens" and parsed.titles == ["token id 5", "token id 6"]


def test_models_are_a_table() -> None:
    template = v1.ChatTemplate(tool_format="hermes", tools=1, calls=1, results=2, system=1)
    models = ModelList.from_protos([v1.Model(id="<m>", chat_template=template), v1.Model(id="old")])
    assert isinstance(models, list) and [model.id for model in models] == ["<m>", "old"]
    parsed = Parsed(models._repr_html_())
    assert parsed.tags.count("tr") == 3 and "<m>hermes" in parsed.text and "old" in parsed.text


def test_a_client_shows_its_engine_only_where_it_has_one(tiny_client: Client) -> None:
    parsed = Parsed(tiny_client._repr_html_())
    assert parsed.text.startswith("<Client of ") and "slots" in parsed.text and "KV pages in use" in parsed.text
    with Client("localhost:1") as remote:
        assert Parsed(remote._repr_html_()).tags == ["div", "b"]


@pytest.mark.parametrize("closed", [False, True])
def test_a_closed_client_is_shown_without_facts(closed: bool) -> None:
    class Transport:
        facts = (("model", "m"),)

        def close(self) -> None:
            pass

    client = Client(Transport())  # type: ignore[arg-type]
    if closed:
        client.close()
    assert ("model" in Parsed(client._repr_html_()).text) != closed
