"""Matrix products of activations and weights, which may be packed or quantised: C++ kernels for CPUs, and XLA."""
