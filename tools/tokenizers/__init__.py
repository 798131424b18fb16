"""Compares our prompts and texts with those of `transformers`, for real tokenizers. `python -m tools.tokenizers`"""
