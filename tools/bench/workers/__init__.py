"""One process for each peer, in the peer's own environment; the standard library and the peer are all they import."""
