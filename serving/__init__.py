"""The gRPC and REST servers, a remote backend and the command line. Importing this package does not import jax."""
