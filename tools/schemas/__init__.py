"""Structured output under trial: answers of a model without sense, and what masks cost a server."""
