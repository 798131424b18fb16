"""A soak test: many clients of every kind, some of which cancel, read slowly or send malformed requests."""
