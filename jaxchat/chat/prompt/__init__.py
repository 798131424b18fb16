"""Turns messages and tools into prompt tokens."""
