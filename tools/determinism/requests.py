"""Random requests that use every sampling feature, and random neighbours that compete with them."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.request.template_effects import TemplateEffects

Request = dict[str, Any]
_TEXT = "hello what is the capital of Norway jaxchat start server sum 12 34 please extract name age tool weather"
WORDS = _TEXT.split()
PREFIX = "You are a helpful assistant. Answer politely, keep your answers short, and be concise and correct. " * 4
SWITCHES = ("enable_thinking", "thinking")  # boolean variables by which templates turn thoughts on and off
_SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "score": {"type": "number"},
        "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 3},
    },
    "required": ["name", "age", "score", "tags"],
    "additionalProperties": False,
}
STRUCTURES: tuple[Request, ...] = (
    {"regex": r"[A-Z][a-z]{2,12}( [a-z]{1,8}){0,6}[.!?]"},
    {"choice": ["yes", "no", "perhaps", "I do not know"]},
    {"grammar": 'start: item (", " item)*\nitem: NAME "=" NUMBER\nNAME: /[a-z]{1,8}/\nNUMBER: /[0-9]{1,4}/'},
    {"json": _SCHEMA},
)


@dataclass(frozen=True, kw_only=True)
class RequestSpace:
    """The fields and sizes that random requests may have.

    Attributes:
        model: the model's id.
        vocab: size of the vocabulary.
        longest: maximum of `max_tokens`.
        words: maximum number of words of the user's message.
        switches: boolean variables of the model's chat template.
        efforts: values of `reasoning_effort` that the model's chat template tells apart; empty if it reads no effort.
    """

    model: str
    vocab: int
    longest: int
    words: int
    switches: tuple[str, ...] = ()
    efforts: tuple[str, ...] = ()


def template_fields(template: ChatTemplate) -> dict[str, tuple[str, ...]]:
    """Returns the fields `switches` and `efforts` of the request space for a model's chat template."""
    settable = template.settable(tools=False)
    effects = TemplateEffects(template, tools=False, kwargs={})
    return {
        "switches": tuple(name for name in SWITCHES if name in settable),
        "efforts": effects.levels("reasoning_effort") if "reasoning_effort" in settable else (),
    }


def random_request(rng: Random, space: RequestSpace) -> Request:
    """Returns a random seeded request in the form of the OpenAI API, with the fields that `space` allows."""
    sizes = (1, 3, 12, space.words // 4, space.words)
    messages = [{"role": "user", "content": " ".join(rng.choices(WORDS, k=rng.choice(sizes)))}]
    if rng.random() < 0.5:
        messages.insert(0, {"role": "system", "content": PREFIX[: rng.choice((60, 200, len(PREFIX)))]})
    request: Request = {
        "model": space.model,
        "messages": messages,
        "seed": rng.randrange(-(2**63), 2**63),
        "max_tokens": rng.randint(1, space.longest),
        "n": rng.choice((1, 1, 1, 2, 4)),
    }
    if rng.random() < 0.8:
        request |= {"logprobs": True, "top_logprobs": rng.choice((0, 1, 5, 20))}
    if rng.random() < 0.5:
        request["return_token_ids"] = True
    request |= _distribution(rng) | _penalties(rng, space.vocab)
    return request | _endings(rng, space.vocab, request["max_tokens"]) | _template_fields(rng, space)


def with_prediction(rng: Random, request: Request, answer: str) -> Request:
    """Returns the request unchanged, or with a prediction that is right, right in its first half, or wrong.

    Args:
        rng: the source of randomness.
        request: a request without a prediction.
        answer: the first choice's text in the answer to the request. No prediction may change this text.
    """
    wrong = " ".join(rng.choices(WORDS, k=12))
    text = rng.choice(("", answer, answer[: len(answer) // 2] + wrong, wrong))
    return {**request, "prediction": {"type": "content", "content": text}} if text else request


def _distribution(rng: Random) -> Request:
    fields: Request = {
        "temperature": rng.choice((0, 0.3, 0.8, 1, 1, 1.6, 2)),
        "top_p": rng.choice((1, 1, 0.95, 0.8, 0.3, 0)),
    }
    if rng.random() < 0.3:
        fields["top_k"] = rng.choice((-1, 0, 1, 2, 20, 300))
    if rng.random() < 0.3:
        fields["min_p"] = rng.choice((0, 0.01, 0.1, 0.5, 1))
    return fields


def _penalties(rng: Random, vocab: int) -> Request:
    fields: Request = {}
    if rng.random() < 0.4:
        fields |= {"frequency_penalty": rng.uniform(-2, 2), "presence_penalty": rng.uniform(-2, 2)}
    if rng.random() < 0.3:
        fields["repetition_penalty"] = rng.choice((0.8, 1.05, 1.3, 2))
    if rng.random() < 0.3:
        tokens = rng.sample(range(vocab), rng.choice((1, 5, 50)))
        fields["logit_bias"] = {str(token): rng.choice((-100, -3, 2.5, 5)) for token in tokens}
    return fields


def _endings(rng: Random, vocab: int, max_tokens: int) -> Request:
    """Returns random fields that end answers or constrain their text. Fields with a grammar lack `ignore_eos`."""
    fields: Request = {}
    if rng.random() < 0.3:
        fields["stop"] = rng.sample(["e", "an", ". ", "jax", "\n"], rng.randint(1, 3))
    if rng.random() < 0.3:
        fields["stop_token_ids"] = rng.sample(range(vocab), rng.choice((1, 8, 64)))
    if rng.random() < 0.3:
        fields["min_tokens"] = rng.randint(0, max_tokens)
    if rng.random() < 0.3:
        fields["structured_outputs"] = rng.choice(STRUCTURES)
    elif rng.random() < 0.3:
        fields["ignore_eos"] = True
    return fields


def _template_fields(rng: Random, space: RequestSpace) -> Request:
    fields: Request = {}
    if space.switches and rng.random() < 0.5:
        fields["chat_template_kwargs"] = {rng.choice(space.switches): rng.random() < 0.5}
    if space.efforts and rng.random() < 0.5:
        fields["reasoning_effort"] = rng.choice(space.efforts)
    return fields


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
