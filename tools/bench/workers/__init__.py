"""A worker for each peer, run in the peer's own environment. Beyond it, a worker imports the standard library only."""
