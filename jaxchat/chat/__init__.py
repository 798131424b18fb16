"""Chat completions between the protocol messages and the engine: validation, prompts, grammars, answers."""
