"""Estimates what a model needs and reaches on given hardware from shapes alone: no device, no weights."""
