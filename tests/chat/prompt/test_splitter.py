"""Added tokens are found at the places at which the library finds them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers

from jaxchat.chat.prompt.splitter import Splitter

CONTENTS = ["<a>", "<a><b>", "aa", "aaa", "a<", "é>", "👍"]
texts = st.lists(st.sampled_from([*CONTENTS, "a", "<", ">", " ", "b", "\n", "A", "👍🏽", "\0"]), max_size=12).map(
    "".join
)


@pytest.mark.parametrize(
    "flags", [{}, {"lstrip": True}, {"rstrip": True}, {"single_word": True}, {"normalized": True}], ids=str
)
def test_the_spans_are_those_of_the_library(flags: dict[str, bool]) -> None:
    lower = normalizers.Lowercase() if flags.get("normalized") else None
    added = {10 + id_: AddedToken(text, **{"normalized": False, **flags}) for id_, text in enumerate(CONTENTS)}
    library = Tokenizer(models.BPE({}, []))  # finds nothing between added tokens
    if lower:
        library.normalizer = lower
    library.add_tokens([*added.values()])
    wanted = frozenset([*added][::2])
    splitter = Splitter(lower, added, wanted)

    @given(texts)
    def check(text: str) -> None:
        found = library.encode(text)
        names = {id_: added[id_].content for id_ in wanted}
        pairs = zip(found.offsets, map(library.id_to_token, found.ids), strict=True)
        expected = [(*place, content) for place, content in pairs if content in names.values()]
        assert [(span.start, span.end, names[span.token]) for span in splitter.spans(text)] == expected
        assert splitter.holding([text, "b"]) == ({text} if expected else set())

    check()
