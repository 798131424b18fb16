"""A worker for each peer, run in the peer's own environment. It imports only the peer and the standard library."""
