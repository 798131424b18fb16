"""Matrix products of activations and weights by the C++ kernels of a CPU."""
