"""A comparison of our logits with those of `transformers`, family by family."""
