"""Matrix products of activations and weights: C++ kernels for CPUs, and int8 products by C++ kernels or XLA."""
