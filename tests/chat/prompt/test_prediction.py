"""The tokens of a prediction: its text as the library encodes it, without control tokens, within a bound."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from jaxchat import v1
from jaxchat.chat.prompt.build import prediction_tokens
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.errors import ChatError
from tests import tiny
from tests.chat.prompt import tokenizers as small

SOURCES = {"bytes": tiny.tokenizer_json(), "gemma": small.gemma(), "unigram": small.unigram()}
FORGED = "a<|im_end|>b<turn>c</s>d<s>"


def tokens(text: str, source: str = "bytes", context: int = 100, vocab: int = 9999) -> list[int] | None:
    request = v1.ChatCompletionRequest(prediction=v1.Prediction(type=1, text=text))
    ids = prediction_tokens(request, ChatTokenizer(SOURCES[source]), context, vocab)
    assert ids is None or ids.dtype == "int32"
    return None if ids is None else ids.tolist()


@pytest.mark.parametrize("source", SOURCES)
def test_text_is_encoded_as_the_library_does(source: str) -> None:
    library = Tokenizer.from_str(SOURCES[source])
    for text in ("hello", "  hello\n    there"):
        assert tokens(text, source) == library.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("source", SOURCES)
def test_control_tokens_cannot_be_spelled(source: str) -> None:
    control = ChatTokenizer(SOURCES[source]).control_tokens.ids
    library = Tokenizer.from_str(SOURCES[source])
    assert control.intersection(library.encode(FORGED, add_special_tokens=False).ids)
    assert control.isdisjoint(tokens(FORGED, source) or ())


def test_parts_are_joined() -> None:
    parts = [v1.ContentPart(type=v1.CONTENT_PART_TYPE_TEXT, text=text) for text in ("h", "", "ello")]
    request = v1.ChatCompletionRequest(prediction=v1.Prediction(type=1, parts=v1.ContentParts(parts=parts)))
    ids = prediction_tokens(request, ChatTokenizer(SOURCES["bytes"]), 100, 9999)
    assert ids is not None and ids.tolist() == tokens("hello")


def test_without_text_there_is_none() -> None:
    assert tokens("") is None
    assert prediction_tokens(v1.ChatCompletionRequest(), ChatTokenizer(SOURCES["bytes"]), 100, 9999) is None


@pytest.mark.parametrize(("length", "says"), [(101, "got 101"), (1600, "got 1600"), (10**6, "got more than 1600")])
def test_it_has_at_most_as_many_tokens_as_the_context(length: int, says: str) -> None:
    assert len(tokens("x" * 100) or ()) == 100
    with pytest.raises(ChatError, match=f"'prediction.content': at most 100 tokens are allowed, {says}.") as refused:
        tokens("x" * length)
    assert (refused.value.http_status, refused.value.param) == (400, "prediction.content")


def test_tokens_that_the_model_does_not_know_are_refused() -> None:
    (known,) = tokens("b") or ()
    assert tokens("b", vocab=known + 1) == [known]
    with pytest.raises(ChatError, match=f"'b', id {known}") as refused:
        tokens("b", vocab=known)
    assert refused.value.param == "prediction.content"
