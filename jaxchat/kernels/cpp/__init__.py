"""Kernels in C++ for CPUs, built on the machine that runs them and called by `jaxchat.kernels.matmul.native`."""
