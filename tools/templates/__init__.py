"""A comparison of our prompts with those of `transformers`, chat template by chat template."""
