"""From messages and tools to prompt tokens."""
