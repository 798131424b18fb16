"""Tests of structured output: answers of a random model, and the cost of masks for a server."""
