"""Added tokens that a model has learned as text, such as a Gemma's runs of spaces, may stand in answers of JSON."""

from __future__ import annotations

from jaxchat.chat.grammar import GrammarCompiler
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from tests.chat.grammar.walking import allowed, constraint_of, empty_row, request
from tests.chat.prompt import tokenizers as small


def test_runs_of_spaces_are_indentation() -> None:
    tokenizer = ChatTokenizer(small.gemma(), ["</s>"])
    grammars = GrammarCompiler(tokenizer, tokenizer.size)
    constraint = grammars.compiled(constraint_of(request(word="object"))).start()
    row, spelled = empty_row(tokenizer, padding=0), ""
    for piece in ("{", "\n", small.SPACE * 4, '"', small.SPACE * 2, "a", '"', ":", small.SPACE, '"', "<b>", '"'):
        token = tokenizer.id_of(piece)
        assert token is not None
        constraint.fill(row)
        assert token in allowed(row), piece
        constraint.accept(token)
        spelled += tokenizer.bytes_of(token).decode()
    assert spelled == '{\n    "  a": "<b>"'
