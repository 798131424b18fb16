"""Matrix products of activations and weights, also packed or quantised ones: C++ kernels for CPUs, and XLA."""
