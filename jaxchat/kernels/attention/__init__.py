"""Attention over a paged KV cache: a backend for each platform, one of them in plain XLA."""
