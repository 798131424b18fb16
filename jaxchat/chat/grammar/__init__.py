"""Constrained answers: `response_format` and tools become a grammar, and the grammar a mask of tokens at every step."""

from jaxchat.chat.grammar.compiler import Grammars
from jaxchat.chat.grammar.matcher import Grammar

__all__ = ["Grammar", "Grammars"]
