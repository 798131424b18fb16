"""Transports only: gRPC and REST servers, the gRPC client and the command line. Imports no jax."""
