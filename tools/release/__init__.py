"""Builds a release: distributions, checks of their contents, and trials of them on every supported Python."""
