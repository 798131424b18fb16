"""Benchmarks: jaxchat and other inference engines side by side, and parts of jaxchat alone."""
