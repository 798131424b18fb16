"""Builds the protobuf messages of text completions, complete or in parts."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence

from jaxchat import v1
from jaxchat.chat.context import Record, random_id
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.request.prepared_text import PreparedText, Prompt
from jaxchat.chat.response.choice import NOT_AMONG_TOP, ChoiceDelta, token_text
from jaxchat.types import TokenEvent

Entries = list[v1.TextTokenLogprob]


class TextBuilder:
    """A builder of the protobuf messages of one answer.

    All messages of an answer have the same id, time, model, fingerprint and seed.

    Args:
        record: the record of the request. Its token counts become the usage.
        fingerprint: the `system_fingerprint`.
        prepared: the interpreted request.
        prompt_entries: log-probabilities of each prompt's tokens; empty if they are not requested.
    """

    def __init__(
        self, record: Record, fingerprint: str, prepared: PreparedText, prompt_entries: Sequence[Entries]
    ) -> None:
        self._record, self._fingerprint, self._prepared = record, fingerprint, prepared
        self._prompt_entries = prompt_entries
        self._id = random_id("cmpl-", 29)
        record.prompt_tokens = sum(len(prompt.ids) for prompt in prepared.prompts)

    def completion(self, deltas: Sequence[ChoiceDelta]) -> v1.TextCompletion:
        """Returns the complete answer. `deltas` has the complete output of each choice, in order."""
        answer = self._answer(self._choice(index, delta, first=True) for index, delta in enumerate(deltas))
        answer.usage.CopyFrom(self._usage())
        return answer

    def part(self, index: int, delta: ChoiceDelta, *, first: bool) -> v1.TextCompletion:
        """Returns a part of a streamed answer, with new output of a choice.

        The first part of a choice also repeats the prompt, if the request asks for it.

        Args:
            index: index of the choice.
            delta: the new output.
            first: whether this is the first part of the choice.
        """
        return self._answer(iter([self._choice(index, delta, first=first)]))

    def usage_part(self) -> v1.TextCompletion:
        """Returns the last part of a stream, which has the usage."""
        answer = self._answer(iter(()))
        answer.usage.CopyFrom(self._usage())
        return answer

    def _answer(self, choices: Iterator[v1.TextChoice]) -> v1.TextCompletion:
        seed = self._prepared.sampling.seed
        return v1.TextCompletion(
            id=self._id,
            created=int(self._record.accepted),
            model=self._record.model,
            system_fingerprint=self._fingerprint,
            choices=choices,
            seed_used=seed - (1 << 64) if seed >> 63 else seed,
        )

    def _choice(self, index: int, delta: ChoiceDelta, *, first: bool) -> v1.TextChoice:
        prepared, place = self._prepared, index // self._prepared.choices
        prompt = prepared.prompts[place]
        choice = v1.TextChoice(
            index=index,
            text=delta.text,
            finish_reason=delta.finish,
            token_ids=delta.tokens,
            accepted_drafts=delta.drafts,
        )
        if first and prepared.token_ids:
            choice.prompt_token_ids.extend(prompt.ids.tolist())
        if first and prepared.echo:
            choice.text = prompt.text + delta.text
        if prepared.logprobs is not None:
            choice.logprobs.SetInParent()
            if first and self._prompt_entries:
                choice.logprobs.tokens.extend(self._prompt_entries[place])
            for entry, offset in zip(delta.entries, delta.offsets, strict=True):
                choice.logprobs.tokens.add(
                    token=entry.token,
                    logprob=entry.logprob,
                    top_logprobs=entry.top_logprobs,
                    text_offset=len(prompt.text) + offset,
                    token_id=entry.token_id,
                    bytes=entry.bytes if entry.HasField("bytes") else None,
                )
        return choice

    def _usage(self) -> v1.Usage:
        record = self._record
        usage = v1.Usage(
            prompt_tokens=record.prompt_tokens,
            completion_tokens=record.completion_tokens,
            total_tokens=record.prompt_tokens + record.completion_tokens,
            prompt_tokens_details=v1.PromptTokensDetails(cached_tokens=record.cached_tokens),
        )
        if self._prepared.prediction is not None:
            predicted = len(self._prepared.prediction) * record.choices
            details = usage.completion_tokens_details
            details.accepted_prediction_tokens = record.accepted_prediction_tokens
            details.rejected_prediction_tokens = predicted - record.accepted_prediction_tokens
        return usage


def prompt_entries(prompt: Prompt, scores: Sequence[TokenEvent], top: int, tokenizer: ChatTokenizer) -> Entries:
    """Returns the log-probability entries of a prompt's tokens.

    Args:
        prompt: the prompt with its text.
        scores: the log-probabilities of all tokens except the first.
        top: number of likeliest tokens in each entry.
        tokenizer: the model's tokenizer.
    """
    entries = []
    offsets = _offsets(prompt, tokenizer)
    for token, offset, score in zip(prompt.ids.tolist(), offsets, [None, *scores], strict=True):
        entry = v1.TextTokenLogprob(
            token=_name(token, tokenizer),
            text_offset=offset,
            token_id=token,
            bytes=tokenizer.bytes_of(token) or None,
        )
        if score is not None:
            entry.logprob = max(score.logprob, NOT_AMONG_TOP)
            for other, value in _likeliest(score, top):
                data = tokenizer.bytes_of(other)
                likely = entry.top_logprobs.add(token=_name(other, tokenizer), token_id=other)
                likely.logprob = max(value, NOT_AMONG_TOP)
                if data:
                    likely.bytes = data
        entries.append(entry)
    return entries


def _likeliest(score: TokenEvent, count: int) -> list[tuple[int, float]]:
    if score.top is None:
        return []
    return list(zip(score.top.ids[:count].tolist(), score.top.values[:count].tolist(), strict=True))


def _name(token: int, tokenizer: ChatTokenizer) -> str:
    data = tokenizer.bytes_of(token)
    return token_text(data) if data else tokenizer.spelling_of(token) or ""


def _offsets(prompt: Prompt, tokenizer: ChatTokenizer) -> Iterator[int]:
    """Yields, for each token, the index in the prompt's text at which the token begins.

    A token that the tokenizer adds before or after the text has no characters in the text, so the next token begins at
    the same index. A space that the tokenizer adds before the text is not in the text either.
    """
    decoder, place = codecs.getincrementaldecoder("utf-8")("replace"), 0
    for token in prompt.ids.tolist():
        yield min(place, len(prompt.text))
        data = tokenizer.bytes_of(token)
        piece = decoder.decode(data) if data else tokenizer.spelling_of(token) or ""
        if not prompt.text.startswith(piece, place):
            piece = piece.removeprefix(" ") if data else ""
        place += len(piece)
