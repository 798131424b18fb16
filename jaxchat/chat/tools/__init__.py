"""How models write tool calls, and parsers that find these in an answer."""
