"""Attention over a paged KV cache: one backend for each platform, and one in plain JAX for all."""
