"""Clients of every kind that behave well and badly, for the soak test."""
