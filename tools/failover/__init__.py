"""Kills servers under load and compares answers with undisturbed ones."""
