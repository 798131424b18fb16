"""Checks of structured output: answers of a random model under random schemas, and the cost of token masks."""
