"""Random walks through grammars without a model. Allowed tokens are equally likely, but tokens near an end are
preferred.
"""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models

from jaxchat import v1
from jaxchat.chat.grammar import GrammarCompiler
from jaxchat.chat.grammar.constraint import OutputConstraint, output_constraint
from jaxchat.chat.prompt.tokenizer import ChatTokenizer, load_tokenizer
from jaxchat.chat.request.validate_tools import check_tools

BUNDLED = Path(__file__).resolve().parents[3] / "jaxchat" / "bundled"
PADDING = 37  # logits beyond the tokenizer


@cache
def bundled() -> ChatTokenizer:
    return load_tokenizer(BUNDLED)


@cache
def grammars() -> GrammarCompiler:
    return GrammarCompiler(bundled(), bundled().size + PADDING)


def constraint_of(request: v1.ChatCompletionRequest) -> OutputConstraint:
    """Returns the output constraint of a request that has one."""
    constraint = output_constraint(request, check_tools(request))
    assert constraint is not None
    return constraint


def byte_fallback() -> ChatTokenizer:
    """Returns a tokenizer like SentencePiece's: 256 byte tokens, and some pieces with U+2581 for a space."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [
        "\u2581",
        '"',
        "{",
        "}",
        ":",
        ",",
        "a",
        "b",
        "\u2581{",
        '{"',
        '":',
        "\u2581a",
        "é",
        "ab",
        "1",
        "\u2581\u2581",
    ]
    tokenizer = Tokenizer(
        models.BPE({piece: i for i, piece in enumerate(pieces)}, [], byte_fallback=True, unk_token="<unk>")
    )
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return ChatTokenizer(tokenizer.to_str(), frozenset({2}))


def request(schema: Any = None, *, text: str = "JSON, please", word: str = "schema") -> v1.ChatCompletionRequest:
    """Returns a request for an answer that follows `schema`.

    Args:
        schema: the JSON Schema.
        text: the user's message.
        word: "schema", or "object" for an answer that may be any object.
    """
    message = v1.ChatCompletionRequest(model="m")
    message.messages.add(role=v1.ROLE_USER, text=text)
    if word == "object":
        message.response_format.type = v1.RESPONSE_FORMAT_TYPE_JSON_OBJECT
        return message
    message.response_format.type = v1.RESPONSE_FORMAT_TYPE_JSON_SCHEMA
    message.response_format.json_schema.name = "answer"
    if schema is not None:
        message.response_format.json_schema.schema = schema if isinstance(schema, str) else json.dumps(schema)
    return message


def allowed(row: np.ndarray) -> np.ndarray:
    """Returns the ids of the tokens that a token mask allows, i64 `[n]`.

    Args:
        row: the mask, u32 `[words]`.
    """
    return np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little"))


def empty_row(tokenizer: ChatTokenizer, padding: int = PADDING) -> np.ndarray:
    return np.full((tokenizer.size + padding + 31) // 32, 0xFFFFFFFF, np.uint32)


def walk(
    request: v1.ChatCompletionRequest,
    seed: int,
    steps: int,
    tokenizer: ChatTokenizer | None = None,
    source: GrammarCompiler | None = None,
) -> tuple[str | bytes, bool]:
    """Returns a random answer: its text and True if it ended, otherwise its bytes and False.

    Args:
        request: the request whose grammar the answer follows.
        seed: seed of the random choices.
        steps: maximum number of tokens.
        tokenizer: the tokenizer; by default that of the bundled model.
        source: compiles the grammar; by default for the bundled model.
    """
    tokenizer, source = tokenizer or bundled(), source or grammars()
    closing = closers(tokenizer)
    grammar = source.compiled(constraint_of(request))
    constraint, chance, row, data = grammar.start(), random.Random(seed), empty_row(tokenizer), b""
    for step in range(steps):
        constraint.fill(row)
        ids = allowed(row)
        assert len(ids) and ids[-1] < tokenizer.size
        ends = [token for token in ids if token in closing] if chance.random() < 0.3 + step / steps else []
        token = int(chance.choice(ends or list(ids)))
        constraint.accept(token)
        if token in tokenizer.stop_tokens:
            constraint.fill(row)
            assert set(allowed(row)) == tokenizer.stop_tokens
            return data.decode(), True
        assert tokenizer.bytes_of(token)
        data += tokenizer.bytes_of(token)
    return data, False


@cache
def closers(tokenizer: ChatTokenizer) -> frozenset[int]:
    """Returns the ids of the tokens that bring the end of an answer nearer."""
    ending = {token for token in range(tokenizer.size) if tokenizer.bytes_of(token) in (b'"', b"}", b"]", b'"}', b'"]')}
    return frozenset(ending | tokenizer.stop_tokens)


def follows(request: v1.ChatCompletionRequest, text: str, source: GrammarCompiler | None = None) -> bool:
    """Returns whether the grammar of a request accepts a text byte by byte, and may end after it."""
    grammar = (source or grammars()).compiled(constraint_of(request))
    constraint, row = grammar.start(), empty_row(bundled())
    singles = {
        bundled().bytes_of(token): token for token in range(bundled().size) if len(bundled().bytes_of(token)) == 1
    }
    try:
        for byte in text.encode("utf-8", "surrogatepass"):
            constraint.accept(singles[bytes([byte])])
    except ValueError:
        return False
    constraint.fill(row)
    return bundled().stop_tokens <= set(allowed(row))
