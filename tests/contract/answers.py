"""Answers of all front doors in one form. Reading a stream checks the rules that hold for all streams."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from google.protobuf.message import Message

from jaxchat import v1


class Top(NamedTuple):
    token: str
    logprob: float
    bytes: bytes


class Entry(NamedTuple):
    token: str
    logprob: float
    bytes: bytes
    top: list[Top]


@dataclass
class Call:
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass
class ChoiceAnswer:
    """One choice of an answer. `function` is the call of a legacy function."""

    text: str | None = None
    finish: str | None = None
    entries: list[Entry] | None = None
    calls: list[Call] = field(default_factory=list)
    function: Call | None = None  # the legacy one
    token_ids: list[int] = field(default_factory=list)
    thoughts: str | None = None

    @property
    def entry_bytes(self) -> bytes:
        return b"".join(entry.bytes for entry in self.entries or [])


@dataclass
class Answer:
    """A whole answer. All chunks of a stream have the same identity."""

    identity: tuple[str, int, str, str]  # id, created, model, system_fingerprint
    choices: list[ChoiceAnswer]
    usage: tuple[int, int, int] | None
    seed: int | None
    cached: int | None = None  # tokens of the prompt, reported beside the usage
    prompt_token_ids: list[int] = field(default_factory=list)
    predicted: tuple[int, int] | None = None  # accepted and rejected tokens of the prediction
    reasoning_tokens: int | None = None

    @property
    def text(self) -> str | None:
        return self.choices[0].text

    @property
    def finish(self) -> str | None:
        return self.choices[0].finish

    @property
    def entries(self) -> list[Entry]:
        return self.choices[0].entries or []

    @property
    def fingerprint(self) -> str:
        return self.identity[3]


def read_completion(answer: Any, seed: int | None) -> Answer:
    """Reads a `ChatCompletion` of the openai package, the typed client or protobuf. `seed` is the seed that the door
    reports.
    """
    for place, choice in enumerate(answer.choices):
        assert choice.index == place
        assert choice.message.role in ("assistant", v1.ROLE_ASSISTANT)
    usage, choices = answer.usage, [_read_choice(choice) for choice in answer.choices]
    cached, prompt = usage.prompt_tokens_details.cached_tokens, _ids(answer, "prompt_token_ids")
    return Answer(_identity(answer), choices, _usage(usage), seed, cached, prompt, _predicted(usage), _reasoning(usage))


def read_chunks(chunks: Iterable[Any], seed: int | None) -> Answer:
    """Reads a stream of `ChatCompletionChunk`s. `seed` is the seed that the door reports.

    Asserts that role chunks are first, that each choice has one end, that the usage is last, and that all chunks have
    one identity.
    """
    chunks = list(chunks)
    (identity,) = {_identity(chunk) for chunk in chunks}
    reports = [found for chunk in chunks if (found := field_of(chunk, "usage"))]
    usage = [_usage(found) for found in reports]
    assert len(usage) <= 1
    parts = [(chunk, choice) for chunk in chunks for choice in chunk.choices]
    assert len(parts) == len(chunks) - len(usage) and (not usage or not chunks[-1].choices)
    count = sum(1 for _, choice in parts if choice.delta.role)
    assert [choice.index for _, choice in parts[:count]] == list(range(count))
    choices = [ChoiceAnswer() for _ in range(count)]
    for chunk, choice in parts:
        assert chunk.object == "chat.completion.chunk" if not isinstance(chunk, Message) else True
        _append_chunk(choices[choice.index], choice)
    assert all(said.finish for said in choices)
    cached = reports[0].prompt_tokens_details.cached_tokens if reports else None
    prompt, *others = (_ids(chunk, "prompt_token_ids") for chunk in chunks)
    assert not any(others)
    predicted, reasoning = (read(reports[0]) if reports else None for read in (_predicted, _reasoning))
    return Answer(identity, choices, usage[0] if usage else None, seed, cached, prompt, predicted, reasoning)


def _append_chunk(said: ChoiceAnswer, choice: Any) -> None:
    assert said.finish is None, "nothing comes after the end of a choice"
    text, logprobs = field_of(choice.delta, "content"), field_of(choice, "logprobs")
    if choice.delta.role:
        assert said.text is None and not text
        said.text = text  # null where the answer must be a call
    elif text:
        said.text = (said.text or "") + text
    if logprobs is not None:
        said.entries = (said.entries or []) + [_read_entry(entry) for entry in logprobs.content]
    if (thoughts := field_of(choice.delta, "reasoning_content")) is not None:
        assert thoughts and not (said.text or said.calls or text)
        said.thoughts = (said.thoughts or "") + thoughts
    for fragment in choice.delta.tool_calls or []:
        _append_call(said.calls, fragment)
    _append_function(said, field_of(choice.delta, "function_call"))
    said.token_ids += _ids(choice, "token_ids")
    said.finish = _finish_word(choice.finish_reason)
    if said.finish:
        assert not text and not choice.delta.tool_calls and logprobs is None


def _append_call(calls: list[Call], fragment: Any) -> None:
    if fragment.id:
        assert fragment.index == len(calls) and fragment.type in ("function", v1.TOOL_TYPE_FUNCTION)
        calls.append(Call(fragment.id, fragment.function.name))
    assert fragment.index == len(calls) - 1, "calls come one after the other"
    assert bool(fragment.id) == bool(fragment.function.name), "id and name come once"
    calls[-1].arguments += fragment.function.arguments or ""


def _append_function(said: ChoiceAnswer, fragment: Any) -> None:
    if fragment is None:
        return
    assert (said.function is None) == bool(fragment.name), "the name comes first, and once"
    said.function = said.function or Call("", fragment.name)
    said.function.arguments += fragment.arguments or ""


def _read_choice(choice: Any) -> ChoiceAnswer:
    legacy = field_of(choice.message, "function_call")
    logprobs = field_of(choice, "logprobs")
    return ChoiceAnswer(
        text=field_of(choice.message, "content"),
        finish=_finish_word(choice.finish_reason),
        entries=None if logprobs is None else [_read_entry(entry) for entry in logprobs.content or []],
        calls=[Call(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls or []],
        function=Call("", legacy.name, legacy.arguments) if legacy else None,
        token_ids=_ids(choice, "token_ids"),
        thoughts=field_of(choice.message, "reasoning_content"),
    )


def _ids(message: Any, name: str) -> list[int]:
    return list(getattr(message, name, None) or [])


def _read_entry(entry: Any) -> Entry:
    top = [Top(other.token, other.logprob, bytes(other.bytes or b"")) for other in entry.top_logprobs]
    return Entry(entry.token, entry.logprob, bytes(entry.bytes or b""), top)


def _identity(answer: Any) -> tuple[str, int, str, str]:
    return answer.id, answer.created, answer.model, answer.system_fingerprint


def _usage(usage: Any) -> tuple[int, int, int]:
    return usage.prompt_tokens, usage.completion_tokens, usage.total_tokens


def _predicted(usage: Any) -> tuple[int, int] | None:
    details = field_of(usage, "completion_tokens_details")
    return details and (details.accepted_prediction_tokens, details.rejected_prediction_tokens)


def _reasoning(usage: Any) -> int | None:
    details = field_of(usage, "completion_tokens_details")
    return details and details.reasoning_tokens


def _finish_word(reason: Any) -> str | None:
    if isinstance(reason, int):
        return v1.FinishReason.Name(reason).removeprefix("FINISH_REASON_").lower() if reason else None
    return reason


def field_of(message: Any, name: str) -> Any:
    """Returns a field of an answer of any door, or None if it is absent."""
    if isinstance(message, Message) and not message.HasField(name):
        return None
    return getattr(message, name, None)
