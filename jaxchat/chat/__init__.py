"""Text and protocol semantics of chat completions, between the protocol messages and the engine."""
