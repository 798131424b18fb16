"""Validates a request and interprets its settings."""
