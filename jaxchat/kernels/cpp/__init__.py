"""Kernels in C++ for CPUs, for matrix products and attention. They are built on the machine that runs them."""
