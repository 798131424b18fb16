"""Checks of structured output: answers of a random model to random schemas, and the cost of token masks."""
