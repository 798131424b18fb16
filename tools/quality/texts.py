"""Texts to score: the repository's own documents and code, in tokens of a model."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
PATTERNS = ("README.md", "docs/*.md", "jaxchat/**/*.py", "serving/**/*.py")


def windows(directory: Path, count: int, length: int, seed: int = 0) -> np.ndarray:
    """Returns pieces of text from random places, as token ids i32 `[count, length]`.

    Args:
        directory: a model directory with tokenizer.json.
        count: number of pieces.
        length: tokens of a piece.
        seed: seed of the random places.
    """
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    texts = [path.read_text("utf-8") for pattern in PATTERNS for path in sorted(ROOT.glob(pattern))]
    ids = tokenizer.encode("\n\n".join(texts), add_special_tokens=False).ids
    places = sorted(Random(seed).sample(range(len(ids) - length), count))
    return np.array([ids[place : place + length] for place in places], np.int32)
