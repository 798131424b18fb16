"""Matrix products of activations and weights, by C++ kernels on CPUs or by XLA. Weights may be packed or quantised."""
