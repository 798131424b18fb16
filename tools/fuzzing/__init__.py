"""Random requests, good and bad, and what counts as a legal answer to them."""
