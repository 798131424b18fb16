"""Turns generated tokens into the text, calls and messages of an answer."""
