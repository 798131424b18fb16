"""Constrained answers: `response_format`, `structured_outputs` and tools become a grammar.

A grammar yields a token mask at every step.
"""

from jaxchat.chat.grammar.compiler import GrammarCompiler as GrammarCompiler
from jaxchat.chat.grammar.matcher import Grammar as Grammar

__all__ = ["Grammar", "GrammarCompiler"]
