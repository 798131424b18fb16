"""Reads and writes weights: one module for each storage format."""
