"""Vectorised sampling: pure functions on logits `[S, V]`, for S rows of a step and a vocabulary of V.

A row's result depends on that row alone.
"""
