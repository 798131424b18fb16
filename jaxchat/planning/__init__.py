"""Estimates memory and speed of a model on given accelerators. Needs only shapes, neither devices nor weights."""
