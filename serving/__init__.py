"""Transports: gRPC and REST servers, a remote backend and the command line. Imports no jax."""
