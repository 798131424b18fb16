"""The grammar that a request's `response_format` and tools ask for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import partial

from jaxchat.chat.grammar import probe
from jaxchat.chat.grammar.constraint import OPTIONS, OutputConstraint, together
from jaxchat.chat.grammar.lark import LarkWriter
from jaxchat.chat.grammar.matcher import Grammar
from jaxchat.chat.grammar.sandbox import Busy, Sandbox, TimeBudget
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.tools.format import ToolFormat, default_tool_format
from jaxchat.errors import ChatError, invalid, overloaded, unsupported

_NOWHERE = "\0\0"  # a joiner that forced text does not hold


class GrammarCompiler:
    """Compiles grammars and keeps the last `size` of them, refused ones too. Thread-safe; one for each session."""

    def __init__(
        self,
        tokenizer: ChatTokenizer,
        vocab: int,
        *,
        tool_format: ToolFormat | None = None,
        size: int = 32,
    ) -> None:
        """Args:
        vocab: number of logits; tokens that only one side knows are never allowed.
        tool_format: how the model writes calls; None for the default format.
        size: grammars that are kept.
        """
        self._vocab = vocab
        self._tokens = [tokenizer.bytes_of(token) for token in range(min(tokenizer.size, vocab))]
        self._ends = sorted(token for token in tokenizer.stop_tokens if token < len(self._tokens))
        self._chat = tokenizer
        self._tokenizer = probe.grammar_tokenizer(self._tokens, self._ends, self._spell) if self._ends else None
        self._sandbox = Sandbox(self._tokens, self._ends)
        self._tool_format = tool_format or default_tool_format()
        known = {name: token for token, name in tokenizer.special_tokens.items() if token < len(self._tokens)}
        markers = self._tool_format.markers
        self._writer = LarkWriter({name: known[name] for name in markers if name in known}, OPTIONS)
        self._size = size
        self._lock = threading.Lock()
        self._known: OrderedDict[OutputConstraint, Grammar | ChatError] = OrderedDict()

    def compiled(self, asked: OutputConstraint) -> Grammar:
        """Returns the grammar of a request's answers. Blocks for up to some seconds.

        Raises `ChatError`: 400 naming the field, for a schema also the keyword and its JSON pointer; 503 when too many
        schemas are being compiled.
        """
        with self._lock:
            found = self._known.get(asked)
            if found:
                self._known.move_to_end(asked)
        if found is None or (isinstance(found, Grammar) and found.needs_recompile):
            found = self._compile(asked, tried=found is not None)
            with self._lock:
                self._known[asked] = found
                while len(self._known) > self._size:
                    self._known.popitem(last=False)
        if isinstance(found, ChatError):
            raise invalid(found.param, found.message, found.code)
        return found

    def close(self) -> None:
        """Ends the process that tries schemas."""
        self._sandbox.close()

    def _spell(self, text: str) -> list[int]:
        ids = self._chat.encode(text, _NOWHERE)
        return ids if max(ids, default=0) < len(self._tokens) else []

    def _compile(self, asked: OutputConstraint, *, tried: bool) -> Grammar | ChatError:
        if self._tokenizer is None:
            return unsupported(asked.param, "This model has no token that ends an answer.")
        try:
            error_of = partial(self._sandbox.error_of, allowance=TimeBudget())
            grammar = asked.grammar(None if tried else error_of, self._tool_format, self._writer)
        except Busy:
            raise overloaded("Too many schemas are being compiled.") from None
        except ChatError as error:
            return error
        matcher = probe.matcher(self._tokenizer, grammar)
        if matcher.is_error():
            return together(asked.param, matcher.get_error())
        return Grammar(matcher, len(self._tokens), self._ends, self._vocab)
