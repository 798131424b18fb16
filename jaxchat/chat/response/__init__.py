"""From generated tokens to the text, calls and messages of an answer."""
