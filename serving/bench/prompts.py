"""Makes the requests of a measurement. Prompts are random words of about a given length, or come from a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Any

from jaxchat.errors import safe_repr
from jaxchat.json_text import parse_json
from serving.bench.config import BenchConfig

Body = dict[str, Any]
_WORDS = (
    "time year people way day man thing woman life child world school state family student group country problem hand "
    "part place case week company system program question work government number night point home water room mother "
    "area money story fact month lot right study book eye job word business issue side kind head house service friend "
    "father power hour game line end member law car city community name president team minute idea body information"
)
WORDS = _WORDS.split()


@dataclass(frozen=True)
class PromptLength:
    """The number of tokens in a prompt of n random words: about `fixed + n * word`."""

    fixed: float
    word: float

    def words(self, tokens: int) -> int:
        """Returns how many words, at least 1, make a prompt of about `tokens` tokens."""
        return max(round((tokens - self.fixed) / self.word), 1)


def measured_length(short: tuple[int, int], long: tuple[int, int]) -> PromptLength:
    """Returns the `PromptLength` that fits two example prompts.

    Args:
        short: number of words and number of tokens in the short prompt. A server has counted the tokens.
        long: the same two numbers for the long prompt.
    """
    word = max((long[1] - short[1]) / (long[0] - short[0]), 0.1)
    return PromptLength(short[1] - word * short[0], word)


class Prompts:
    """The requests of a measurement. Prompts of random words have no common beginning, so prefix caches do not match.

    Args:
        config: the settings.
        model: the model id.
        length: lengths of prompts; not needed for a dataset.

    Raises:
        OSError: the dataset cannot be read.
        ValueError: a line of the dataset has no prompt for the endpoint, or the dataset is empty.
    """

    def __init__(self, config: BenchConfig, model: str, length: PromptLength | None = None) -> None:
        self._config, self._model, self._length = config, model, length
        self._rows = _read(Path(config.dataset), config) if config.dataset else []

    def bodies(self, name: str, count: int) -> list[Body]:
        """Returns the bodies of `count` requests. The same name and seed give the same requests."""
        return list(islice(self._from_dataset() if self._rows else self._random(name), count))

    def body(self, words: Sequence[str], rng: Random) -> Body:
        """Returns a request with a random seed, whose prompt is `words`."""
        return self._body(_prompt(self._config, " ".join(words)), rng.getrandbits(31))

    def _random(self, name: str) -> Iterator[Body]:
        assert self._length is not None
        rng = Random(f"{self._config.seed} {name}")
        count = self._length.words(self._config.prompt_tokens)
        while True:
            yield self.body(rng.choices(WORDS, k=count), rng)

    def _from_dataset(self) -> Iterator[Body]:
        for number, row in enumerate(cycle(self._rows)):
            yield self._body(row, self._config.seed + number)

    def _body(self, prompt: Body, seed: int) -> Body:
        body: Body = {"max_tokens": self._config.output_tokens, "seed": seed} | prompt
        body |= {"model": self._model, "stream": True, "stream_options": {"include_usage": True}}
        return body | ({"ignore_eos": True} if self._config.ignore_eos else {})


def _prompt(config: BenchConfig, text: str) -> Body:
    return {"messages": [{"role": "user", "content": text}]} if config.endpoint == "chat" else {"prompt": text}


def _read(path: Path, config: BenchConfig) -> Sequence[Body]:
    rows = [
        _row(config, line, f"{path}, line {number}")
        for number, line in enumerate(path.read_text("utf-8-sig").split("\n"), 1)
        if line.strip()
    ]
    if not rows:
        raise ValueError(f"{path}: no prompts")
    return rows


def _row(config: BenchConfig, line: str, place: str) -> Body:
    """Returns the fields that a line of the dataset adds to a request body: the prompt, and perhaps settings.

    If the line is a line of a batch, the fields are those of the batch line's `body`.

    Raises:
        ValueError: the line is not JSON, its body is not an object, or it has no prompt for the endpoint.
    """
    try:
        value = parse_json(line)
    except ValueError as error:
        raise ValueError(f"{place}: not valid JSON: {error}") from None
    value = value.get("body", value) if isinstance(value, dict) else {}
    if not isinstance(value, dict):
        raise ValueError(f"{place}: 'body' must be an object, got {safe_repr(value)}")
    key = "messages" if config.endpoint == "chat" else "prompt"
    if key in value:
        return {name: each for name, each in value.items() if name not in ("custom_id", "n")}
    if isinstance(value.get("prompt"), str):
        return _prompt(config, value["prompt"]) | {name: value[name] for name in ("max_tokens",) if name in value}
    keys = "'prompt'" if key == "prompt" else "'messages' or 'prompt'"
    raise ValueError(f"{place}: needs {keys} for --endpoint {config.endpoint}")
