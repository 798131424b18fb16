"""Ids and bytes of the tokens in the vocabulary of the tiny model and the echo."""

from __future__ import annotations

from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from tests.contract.echo import END, LIBRARY, SOURCE

TOKENIZER = ChatTokenizer(SOURCE, frozenset({END}))
SIZE = LIBRARY.get_vocab_size()
ID_OF = {TOKENIZER.bytes_of(token): token for token in range(SIZE) if TOKENIZER.bytes_of(token)}
"""Token of some bytes."""
TEXTLESS = {str(token): -100.0 for token in range(SIZE) if not TOKENIZER.bytes_of(token)}
"""A bias that bans control tokens, the end of the turn too: the answer then has an entry for every token."""
