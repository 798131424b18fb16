"""Divides the time of a step into parts, on the host and on the device, from a profiler's trace."""
