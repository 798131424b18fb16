"""Kernels in C++ for CPUs, built on the machine that runs them; matrix products and attention call them."""
