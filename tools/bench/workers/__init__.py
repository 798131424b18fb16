"""A worker for each peer. It imports only the standard library and the packages of the peer's own environment."""
