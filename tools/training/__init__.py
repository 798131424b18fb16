"""Trains the bundled model: generated conversations, tokenizer, training, export and held-out evaluation."""
