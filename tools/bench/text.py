"""A tokenizer of a given size, and texts that have an exact number of tokens.

A word has four letters, alternately in lower and upper case, such as `bCdF`. It is one token, merged from two pairs of
letters. The blank before a word is another token. The vocabulary has 256 bytes, 400 pairs, the words, and three control
tokens, with ids in this order.
"""

from __future__ import annotations

from itertools import islice, product
from random import Random

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

SMALL, CAPITAL = "bcdfghjklmnpqrstvwxz", "BCDFGHJKLMNPQRSTVWXZ"
PAIRS = ["".join(pair) for pair in product(SMALL, CAPITAL)]
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = "{% for message in messages %}<|im_start|>{{ message.content }}{% endfor %}"
LETTERS_PER_TOKEN = 4
_BLANK, _DOT = ALPHABET.index("Ġ"), ALPHABET.index(".")
_WORDS_FROM = len(ALPHABET) + len(PAIRS)


def tokenizer(vocab: int) -> Tokenizer:
    """Returns a byte-level tokenizer of `vocab` tokens. Raises ValueError if `vocab` is too small or too large."""
    words, most = vocab - _WORDS_FROM - len(SPECIAL), len(PAIRS) ** 2
    if not 1 <= words <= most:
        bounds = (_WORDS_FROM + len(SPECIAL) + 1, _WORDS_FROM + len(SPECIAL) + most)
        raise ValueError(f"vocab must be from {bounds[0]} to {bounds[1]}, got {vocab}")
    merges = [(pair[0], pair[1]) for pair in PAIRS] + list(islice(product(PAIRS, PAIRS), words))
    table = {token: index for index, token in enumerate([*ALPHABET, *("".join(merge) for merge in merges)])}
    made = Tokenizer(models.BPE(table, merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(list(SPECIAL))
    return made


def prompt_tokens(rng: Random, count: int, vocab: int) -> list[int]:
    """Returns random token ids that are the prompt of one message. `prompt_text` returns that message.

    Args:
        rng: source of the random words.
        count: number of token ids.
        vocab: size of the vocabulary.
    """
    start = vocab - len(SPECIAL) + 1
    words = ([_BLANK, rng.randrange(_WORDS_FROM, vocab - len(SPECIAL))] for _ in range((count - 1) // 2))
    return [start, *(token for word in words for token in word), *[_DOT] * ((count - 1) % 2)]


def prompt_text(tokens: list[int]) -> str:
    """Returns the text of the message whose prompt has these tokens."""
    return "".join(_spelling(token) for token in tokens[1:])


def _spelling(token: int) -> str:
    first, second = divmod(token - _WORDS_FROM, len(PAIRS))
    return {_BLANK: " ", _DOT: "."}.get(token) or PAIRS[first] + PAIRS[second]
