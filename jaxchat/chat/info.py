"""What a session says of its model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What is said about the served model."""

    id: str
    created: int  # Unix seconds
    vocab: int  # ids that are tokens
    logits: int  # V, padding included
    context: int
    queue: int
    fingerprint: str
    facts: tuple[tuple[str, str], ...] = ()
