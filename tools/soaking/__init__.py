"""A soak test: clients of every kind, some of which misbehave."""
