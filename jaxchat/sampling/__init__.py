"""Vectorised sampling: pure functions on logits `[S, V]`, where S is the number of rows of a step.

A row's result depends on that row alone.
"""
