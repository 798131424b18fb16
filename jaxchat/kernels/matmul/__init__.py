"""Matrix products of activations and weights: C++ kernels for CPUs, and int8 weights by them or by XLA."""
