"""Kernels in C++ for CPUs, built on the machine that runs them; `jaxchat.kernels.products` is how they are used."""
