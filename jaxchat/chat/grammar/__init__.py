"""Constrained answers: `response_format` and tools become a grammar, which yields a token mask at every step."""

from jaxchat.chat.grammar.compiler import GrammarCompiler as GrammarCompiler
from jaxchat.chat.grammar.matcher import Grammar as Grammar

__all__ = ["Grammar", "GrammarCompiler"]
