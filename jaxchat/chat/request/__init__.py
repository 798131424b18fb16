"""Validating a request and interpreting its settings."""
