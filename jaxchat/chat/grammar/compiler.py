"""Compiles the grammar of a request's output constraint, and caches it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from functools import partial

from jaxchat.chat.grammar import probe
from jaxchat.chat.grammar.constraint import OPTIONS, OutputConstraint, SlowSchema, combination_error
from jaxchat.chat.grammar.free_thoughts import FreeThoughts
from jaxchat.chat.grammar.lark import LarkWriter
from jaxchat.chat.grammar.matcher import Grammar
from jaxchat.chat.grammar.sandbox import Busy, Sandbox, TimeBudget
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.response.reasoning import ThoughtSplitter
from jaxchat.chat.tools.format import ToolFormat, default_tool_format
from jaxchat.errors import ChatError, overloaded, unsupported
from jaxchat.types import Grammar as AnyGrammar


class GrammarCompiler:
    """A thread-safe compiler with a cache of the most recently used grammars and errors."""

    def __init__(
        self,
        tokenizer: ChatTokenizer,
        vocab: int,
        *,
        tool_format: ToolFormat | None = None,
        size: int = 32,
    ) -> None:
        """Prepares the tokenizer for the grammar library.

        Args:
            tokenizer: the model's tokenizer.
            vocab: V, the number of logits. Token ids from `vocab` on are never allowed.
            tool_format: how the model writes calls; None for the default tool format.
            size: maximum number of cached grammars and errors.
        """
        self._vocab = vocab
        self._tokens = [tokenizer.bytes_of(token) for token in range(min(tokenizer.size, vocab))]
        self._stop_tokens = sorted(token for token in tokenizer.stop_tokens if token < len(self._tokens))
        self._chat = tokenizer
        self._tokenizer = (
            probe.grammar_tokenizer(self._tokens, self._stop_tokens, self._spell) if self._stop_tokens else None
        )
        self._sandbox = Sandbox(self._tokens, self._stop_tokens)
        self._tool_format = tool_format or default_tool_format()
        known = {name: token for token, name in tokenizer.special_tokens.items() if token < len(self._tokens)}
        markers = self._tool_format.markers
        self._writer = LarkWriter({name: known[name] for name in markers if name in known}, OPTIONS)
        self._size = size
        self._lock = threading.Lock()
        self._cache: OrderedDict[OutputConstraint, Grammar | ChatError] = OrderedDict()

    def compiled(self, constraint: OutputConstraint) -> Grammar:
        """Returns the grammar for the answers to a request. Compiles it if it is not cached.

        Blocks while the grammar is probed. All probes of this request together take at most 10 s, and 3 s of processor
        time. Each probe may also wait up to 10 s for probes of other requests, and up to 30 s for the sandbox to start.

        Raises:
            ChatError: 400 if the constraint cannot be enforced, or takes too much processor time. The error names the
                field. If a schema is at fault, it also names the keyword and its JSON pointer. 503 if the machine is
                too busy for the probes.
            RuntimeError: the sandbox does not start.
        """
        with self._lock:
            result = self._cache.get(constraint)
            if result:
                self._cache.move_to_end(constraint)
        if result is None or (isinstance(result, Grammar) and result.needs_recompile):
            result = self._compile(constraint, probed=result is not None)
            with self._lock:
                self._cache[constraint] = result
                while len(self._cache) > self._size:
                    self._cache.popitem(last=False)
        if isinstance(result, ChatError):
            raise replace(result)  # a cached exception would collect tracebacks
        return result

    def after_thoughts(self, constraint: OutputConstraint, thoughts: ThoughtSplitter | None) -> AnyGrammar:
        """Returns the grammar for answers that may begin with thoughts. The constraint does not bind the thoughts.

        Blocks and raises as `compiled` does.

        Args:
            constraint: binds the tokens after the thoughts.
            thoughts: a splitter that finds the end of the thoughts. It has not read any token yet. None if the
                constraint binds all tokens.
        """
        grammar = self.compiled(constraint)
        return FreeThoughts(grammar, thoughts, self._chat.stop_tokens) if thoughts else grammar

    def close(self) -> None:
        """Ends the process that probes grammars."""
        self._sandbox.close()

    def _spell(self, text: str) -> list[int]:
        ids = self._chat.encode(text)
        return ids if max(ids, default=0) < len(self._tokens) else []

    def _compile(self, constraint: OutputConstraint, *, probed: bool) -> Grammar | ChatError:
        if self._tokenizer is None:
            return unsupported(constraint.param, "This model has no token that ends an answer.")
        try:
            error_of = partial(self._sandbox.error_of, budget=TimeBudget())
            grammar = constraint.grammar(None if probed else error_of, self._tool_format, self._writer)
        except Busy:
            raise overloaded("Too many schemas are being compiled, or the machine is too busy.") from None
        except SlowSchema:
            raise
        except ChatError as error:
            return error
        matcher = probe.matcher(self._tokenizer, grammar)
        if matcher.is_error():
            return combination_error(constraint.param, matcher.get_error())
        return Grammar(matcher, self._tokenizer, len(self._tokens), self._stop_tokens, self._vocab)
