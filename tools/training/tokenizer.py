"""Trains the byte-level BPE tokenizer. The vocabulary has all bytes, and every digit is a separate token."""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from tools.training import data
from tools.training.template import render

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKERS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
VOCABULARY = 2560

# A space joins a lower-case word or punctuation, never a capitalised word or a digit. A name or number therefore has
# the same tokens after a space, a quote or a line break, so that the model can copy it token by token.
SPLIT = (
    r" ?\p{Ll}+|\p{Lu}+\p{Ll}*|[\p{Lt}\p{Lm}\p{Lo}\p{M}]+"  # words
    r"|\p{N}| ?[^\s\p{L}\p{N}\p{M}]+|\s*[\r\n]+|\s+(?!\S)|\s+"  # digits one by one, punctuation, blanks
)


def train(texts: list[str], vocabulary: int = VOCABULARY) -> Tokenizer:
    """Returns a tokenizer with merges learned from `texts`. `vocabulary` counts bytes, merges and added tokens."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(MARKERS),
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(marker, special=False, normalized=False) for marker in MARKERS])
    return tokenizer


def corpus(samples: int, seed: int) -> list[str]:
    """Returns the texts of training conversations, split at special tokens and markers.

    Args:
        samples: number of conversations.
        seed: seed of the conversations.
    """
    texts = (render(list(s.messages), list(s.tools)) for s in islice(data.stream(seed), samples))
    return [part for text in texts for part in _without(text)]


def _without(text: str) -> list[str]:
    for token in (*SPECIAL, *MARKERS):
        text = text.replace(token, "\0")
    return text.split("\0")


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/bundled"), help="folder that receives tokenizer.json")
    parser.add_argument("--samples", type=int, default=40_000, help="conversations to learn from")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    tokenizer = train(corpus(args.samples, seed=12345))
    tokenizer.save(str(args.work / "tokenizer.json"))
    print(f"{tokenizer.get_vocab_size()} tokens -> {args.work / 'tokenizer.json'}")


if __name__ == "__main__":
    main()
