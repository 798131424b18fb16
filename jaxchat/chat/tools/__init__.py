"""The formats in which models write tool calls, and parsers that find the calls in an answer."""
