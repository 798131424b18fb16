"""Our prompts against those of `transformers`, chat template by chat template."""
