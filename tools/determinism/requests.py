"""Random requests that use every sampling feature, and random neighbours that compete with them."""

from __future__ import annotations

from random import Random
from typing import Any

Request = dict[str, Any]
_TEXT = "hello what is the capital of Norway jaxchat start server sum 12 34 please extract name age tool weather"
WORDS = _TEXT.split()
PREFIX = "You are a helpful assistant. Answer politely, keep your answers short, and be concise and correct. " * 4


def random_request(rng: Random, model: str, vocab: int, longest: int, words: int) -> Request:
    """Returns a random seeded request in the form of the OpenAI API.

    Args:
        rng: the source of randomness.
        model: the model's id.
        vocab: size of the vocabulary.
        longest: maximum of `max_tokens`.
        words: maximum number of words of the user's message.
    """
    messages = [{"role": "user", "content": " ".join(rng.choices(WORDS, k=rng.choice((1, 3, 12, words // 4, words))))}]
    if rng.random() < 0.5:
        messages.insert(0, {"role": "system", "content": PREFIX[: rng.choice((60, 200, len(PREFIX)))]})
    request: Request = {
        "model": model,
        "messages": messages,
        "seed": rng.randrange(-(2**63), 2**63),
        "max_tokens": rng.randint(1, longest),
        "temperature": rng.choice((0, 0.3, 0.8, 1, 1, 1.6, 2)),
        "top_p": rng.choice((1, 1, 0.95, 0.8, 0.3, 0)),
        "n": rng.choice((1, 1, 1, 2, 4)),
    }
    if rng.random() < 0.8:
        request |= {"logprobs": True, "top_logprobs": rng.choice((0, 1, 5, 20))}
    if rng.random() < 0.4:
        request |= {"frequency_penalty": rng.uniform(-2, 2), "presence_penalty": rng.uniform(-2, 2)}
    if rng.random() < 0.3:
        tokens = rng.sample(range(vocab), rng.choice((1, 5, 50)))
        request["logit_bias"] = {str(token): rng.choice((-100, -3, 2.5, 5)) for token in tokens}
    if rng.random() < 0.3:
        request["stop"] = rng.sample(["e", "an", ". ", "jax", "\n"], rng.randint(1, 3))
    return request


def neighbour(rng: Random, model: str, words: int) -> Request:
    """Returns an unseeded streamed request that only adds load. Its message has up to `words` words."""
    text = " ".join(rng.choices(WORDS, k=rng.choice((2, words // 4, words))))
    return {
        "model": model,
        "messages": [{"role": "system", "content": PREFIX}, {"role": "user", "content": text}],
        "max_tokens": rng.randint(1, 120),
        "temperature": rng.choice((0, 1, 2)),
        "n": rng.choice((1, 2, 5)),
        "stream": True,
    }
