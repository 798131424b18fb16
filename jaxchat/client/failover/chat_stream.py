"""A streamed chat completion that goes on at another replica exactly where it was cut off."""

from __future__ import annotations

from jaxchat import v1
from jaxchat.client.failover.chat_choice import DeliveredChoice
from jaxchat.client.failover.replicas import ReplicaSet
from jaxchat.client.failover.resumable import Delivered, OtherFingerprint, Resumable, Whole, differs, repeatable


def resumable_chat(request: v1.ChatCompletionRequest, replicas: ReplicaSet) -> Resumable:
    """Returns the streamed answer of a request. If there are several replicas, it can go on at another replica."""
    return Whole(request) if replicas.single else ResumableChat(request)


class ResumableChat:
    """A streamed chat completion as its reader sees it: one stream, even if several replicas made parts of it.

    Every replica is asked for token ids, so that the ids can be sent as draft tokens to a replica that continues the
    answer. The chunks that the reader gets have token ids only if the reader's request asks for token ids.

    Args:
        request: the request.
    """

    def __init__(self, request: v1.ChatCompletionRequest) -> None:
        self._request = v1.ChatCompletionRequest()
        self._request.CopyFrom(repeatable(request))
        self._request.return_token_ids = True
        self._token_ids = request.return_token_ids
        self._choices = [DeliveredChoice() for _ in range(request.n if request.HasField("n") else 1)]
        self._prompt: Delivered[list[int]] = Delivered("prompt", [])
        self._first: v1.ChatCompletionChunk | None = None
        self._repeats = False  # whether the present attempt began with what was delivered
        self._usage = not request.stream_options.include_usage  # whether the usage was delivered or not requested

    @property
    def ended(self) -> bool:
        """Whether all choices, and the usage if it was requested, were delivered completely."""
        return self._usage and all(choice.finished for choice in self._choices)

    def request(self) -> v1.ChatCompletionRequest:
        """Returns the request of the next attempt. Its draft tokens are the tokens that each choice already has."""
        drafts = [v1.DraftTokens(token_ids=choice.tokens) for choice in self._choices]
        if not any(draft.token_ids for draft in drafts):
            return self._request
        resumed = v1.ChatCompletionRequest()
        resumed.CopyFrom(self._request)
        del resumed.draft_tokens[:]
        resumed.draft_tokens.extend(drafts)
        return resumed

    def restart(self) -> None:
        """Prepares for an attempt that first repeats what was delivered."""
        self._repeats = self._first is not None
        self._prompt.restart()
        for choice in self._choices:
            choice.restart()

    def take(self, chunk: v1.ChatCompletionChunk) -> v1.ChatCompletionChunk | None:
        """Returns the part of a chunk that was not delivered yet, or None if all of it was.

        The part has the id and the time of the first chunk of the stream.

        Raises:
            OtherFingerprint: the fingerprint is not that of the first chunk.
            ChatError: the chunk differs from what was delivered.
        """
        if not chunk.ByteSize():
            return None  # Ray Serve sends an empty chunk before an error
        if self._repeats:
            self._adopt(chunk)
        elif self._first is None:
            self._first = v1.ChatCompletionChunk(
                id=chunk.id,
                created=chunk.created,
                system_fingerprint=chunk.system_fingerprint,
                seed_used=chunk.seed_used,
            )
        prompt = self._prompt.rest(list(chunk.prompt_token_ids))
        del chunk.prompt_token_ids[:]
        if self._token_ids:
            chunk.prompt_token_ids.extend(prompt)
        kept = [choice for choice in chunk.choices if self._cut(choice)]
        if len(kept) < len(chunk.choices):
            del chunk.choices[:]
            chunk.choices.extend(kept)
        if chunk.HasField("usage"):
            self._usage = True
        return chunk if chunk.choices or chunk.HasField("usage") else None

    def end(self) -> None:
        """Raises `ChatError` if the attempt has ended before it repeated all that was delivered."""
        for choice in self._choices:
            choice.end()

    def _cut(self, choice: v1.ChunkChoice) -> bool:
        return self._choices[choice.index].cut(choice, repeats=self._repeats, token_ids=self._token_ids)

    def _adopt(self, chunk: v1.ChatCompletionChunk) -> None:
        first = self._first
        assert first is not None
        if chunk.system_fingerprint != first.system_fingerprint:
            raise OtherFingerprint(first.system_fingerprint, chunk.system_fingerprint)
        if chunk.seed_used != first.seed_used:
            raise differs("seed")
        chunk.id, chunk.created = first.id, first.created
