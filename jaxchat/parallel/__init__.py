"""A model split over several devices or processes: mesh, padding, distributed start."""
