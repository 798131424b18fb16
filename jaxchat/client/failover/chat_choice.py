"""The delivered parts of one choice of a streamed chat completion."""

from __future__ import annotations

from jaxchat import v1
from jaxchat.client.failover.resumable import Delivered, differs

_LEGACY = -1  # index of a legacy function call


class _Call:
    """The delivered parts of one tool call or legacy function call."""

    def __init__(self, identity: str, name: str) -> None:
        self.begun = identity, name
        self.arguments = Delivered("arguments of a call", "")


class DeliveredChoice:
    """The delivered parts of one choice: texts, calls, log-probabilities, tokens and finish reason."""

    def __init__(self) -> None:
        self._text, self._thoughts = Delivered("content", ""), Delivered("reasoning_content", "")
        self._entries: Delivered[list[v1.TokenLogprob]] = Delivered("logprobs", [])
        self._tokens: Delivered[list[int]] = Delivered("token ids", [])
        self._calls: dict[int, _Call] = {}
        self._role = False
        self._finish = v1.FINISH_REASON_UNSPECIFIED
        self._pending: list[int] = []  # new token ids of a chunk that had nothing else new
        self._pending_drafts: list[int] = []  # its accepted drafts

    @property
    def finished(self) -> bool:
        return self._finish != v1.FINISH_REASON_UNSPECIFIED

    @property
    def tokens(self) -> list[int]:
        """The ids of all tokens that the choice has so far."""
        return self._tokens.all()

    def restart(self) -> None:
        """Prepares for an attempt that first repeats what was delivered."""
        for delivered in (self._text, self._thoughts, self._entries, self._tokens):
            delivered.restart()
        for call in self._calls.values():
            call.arguments.restart()

    def end(self) -> None:
        """Raises `ChatError` if the attempt has not repeated all that was delivered."""
        for delivered in (self._text, self._thoughts, self._entries, self._tokens):
            delivered.end()
        for call in self._calls.values():
            call.arguments.end()

    def cut(self, choice: v1.ChunkChoice, *, repeats: bool, token_ids: bool) -> bool:
        """Shortens this choice's part of a chunk to what was not delivered yet.

        Returns whether to deliver the part: always in an attempt that repeats nothing, otherwise if anything is left.

        Args:
            choice: the part of the chunk. It is changed in place.
            repeats: whether the attempt began by repeating what was delivered.
            token_ids: whether the reader gets token ids.

        Raises:
            ChatError: the part differs from what was delivered.
        """
        known = len(self.tokens) if choice.accepted_drafts else 0
        tokens = self._tokens.rest(list(choice.token_ids))
        drafts = self._pending_drafts + [index for index in choice.accepted_drafts if index >= known]
        begins = self._cut_texts(choice, repeats)
        self._cut_calls(choice.delta)
        self._cut_finish(choice)
        delta = choice.delta
        anything = begins or delta.ListFields() or choice.HasField("logprobs") or choice.finish_reason
        if token_ids:
            tokens = self._pending + tokens
            self._pending = [] if anything else tokens
        del choice.token_ids[:]
        if token_ids and anything:
            choice.token_ids.extend(tokens)
        self._pending_drafts = [] if anything else drafts
        del choice.accepted_drafts[:]
        if anything:
            choice.accepted_drafts.extend(drafts)
        return bool(anything) or not repeats

    def _cut_texts(self, choice: v1.ChunkChoice, repeats: bool) -> bool:
        """Removes the role, texts and log-probabilities that were delivered. Returns whether the role is new."""
        delta = choice.delta
        begins = bool(delta.role) and not self._role
        self._role = self._role or begins
        text, thoughts = self._text.rest(delta.content), self._thoughts.rest(delta.reasoning_content)
        entries = self._entries.rest(list(choice.logprobs.content))
        if not repeats or begins:
            return begins
        delta.ClearField("role")
        for name, rest, kept in (("content", text, text or entries), ("reasoning_content", thoughts, thoughts)):
            delta.ClearField(name)
            if kept:
                setattr(delta, name, rest)
        choice.ClearField("logprobs")
        if entries:
            choice.logprobs.content.extend(entries)
        return False

    def _cut_calls(self, delta: v1.Delta) -> None:
        kept = [fragment for fragment in delta.tool_calls if self._cut_call(fragment)]
        if len(kept) < len(delta.tool_calls):
            del delta.tool_calls[:]
            delta.tool_calls.extend(kept)
        if delta.HasField("function_call") and not self._is_new(_LEGACY, "", delta.function_call):
            delta.ClearField("function_call")

    def _cut_call(self, fragment: v1.ToolCallDelta) -> bool:
        known = fragment.index in self._calls
        new = self._is_new(fragment.index, fragment.id, fragment.function)
        if known:
            fragment.ClearField("id")
            fragment.ClearField("type")
        return new

    def _is_new(self, index: int, identity: str, function: v1.FunctionCall) -> bool:
        """Shortens a fragment of a call to what was not delivered yet. Returns whether anything is left."""
        begun = identity, function.name
        call = self._calls.get(index)
        if call is None:
            self._calls[index] = call = _Call(*begun)
            call.arguments.rest(function.arguments)
            return True
        if any(begun) and begun != call.begun:
            raise differs("call")
        function.ClearField("name")
        function.arguments = call.arguments.rest(function.arguments)
        return bool(function.arguments)

    def _cut_finish(self, choice: v1.ChunkChoice) -> None:
        if not choice.finish_reason:
            return
        self.end()
        if self.finished and choice.finish_reason != self._finish:
            raise differs("finish_reason")
        if self.finished:
            choice.ClearField("finish_reason")
        else:
            self._finish = choice.finish_reason
