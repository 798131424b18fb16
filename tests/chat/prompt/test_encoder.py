"""The fast library gives the ids of the `tokenizers` library, or is not used."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, normalizers

from jaxchat.chat.prompt import encoder
from jaxchat.chat.prompt.encoder import Encoder, FastEncoder, LibraryEncoder, make_encoder
from tests import tiny
from tests.chat.prompt import tokenizers as small

fastokens = pytest.importorskip("fastokens")
ALIASES = [AddedToken("<|alias one|>", normalized=False), AddedToken("<|alias two|>", normalized=True)]
KINDS = {
    "bytes": tiny.tokenizer_json(),
    "nfc": small.byte_level(normalizers.NFC()),
    "lstrip": small.flagged(lstrip=True),
    "rstrip": small.flagged(rstrip=True),
    "gemma": small.gemma(),
    "legacy": small.legacy(),
}
PARTS = ["<|im_end|>", "<|im_start|>", "<tool_call>", "<s>", "</s>", "<turn>", "<|im_", "end|>", "  ", "\n", "hello"]
texts = st.lists(
    st.sampled_from([*PARTS, *(alias.content for alias in ALIASES)]) | st.text(max_size=9), max_size=9
).map("".join)


def pair(source: str) -> tuple[Encoder, Encoder]:
    library = Tokenizer.from_str(source)
    control = [token.content for token in library.get_added_tokens_decoder().values() if token.special]
    fast, slow = (kind(source, library, control, ALIASES) for kind in (FastEncoder, LibraryEncoder))
    return fast, slow


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_the_library(kind: str) -> None:
    fast, slow = pair(KINDS[kind])

    @settings(deadline=None, max_examples=200)
    @given(texts)
    def check(text: str) -> None:
        assert fast.ids_of_text(text) == slow.ids_of_text(text)
        plain = text.replace(ALIASES[0].content, "").replace(ALIASES[1].content, "")
        assert fast.ids(plain) == slow.ids(plain)

    check()
    assert [fast.alias(alias.content) for alias in ALIASES] == [slow.alias(alias.content) for alias in ALIASES]


def chosen(source: str) -> Encoder:
    library = Tokenizer.from_str(source)
    return make_encoder(source, library, ["<|im_end|>"], ALIASES)


def test_the_fast_one_is_chosen_where_it_can_be() -> None:
    assert isinstance(chosen(KINDS["bytes"]), FastEncoder)
    assert isinstance(chosen(small.unigram()), LibraryEncoder)
    old = json.loads(KINDS["bytes"])
    del old["model"]["type"]
    assert isinstance(chosen(json.dumps(old)), FastEncoder)


def test_one_that_differs_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(FastEncoder):
        def ids(self, text: str) -> list[int]:
            return super().ids(text.replace("\u00e7", "c"))

    monkeypatch.setattr(encoder, "FastEncoder", Wrong)
    assert isinstance(chosen(KINDS["bytes"]), LibraryEncoder)


def test_one_that_takes_text_for_control_tokens_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unsafe(FastEncoder):
        def ids_of_text(self, text: str) -> list[int]:
            return self.ids(text)

    monkeypatch.setattr(encoder, "FastEncoder", Unsafe)
    assert isinstance(chosen(KINDS["bytes"]), LibraryEncoder)


def test_text_becomes_no_token_that_only_the_template_makes_special() -> None:
    source = json.loads(KINDS["bytes"])
    ordinary = [token["content"] for token in source["added_tokens"] if not token["special"]]
    library = Tokenizer.from_str(KINDS["bytes"])
    fast, slow = (kind(KINDS["bytes"], library, ordinary, ALIASES) for kind in (FastEncoder, LibraryEncoder))
    for spelling in ordinary:
        assert fast.ids_of_text(f"a {spelling}") == slow.ids_of_text(f"a {spelling}")
        assert library.token_to_id(spelling) not in fast.ids_of_text(f"a {spelling}")
