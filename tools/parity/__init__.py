"""Our logits against those of `transformers`, family by family."""
