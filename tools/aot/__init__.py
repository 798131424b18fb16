"""Checks of programs compiled for accelerators that are not present."""
