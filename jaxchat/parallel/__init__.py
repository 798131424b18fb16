"""One model over several devices or processes: mesh, padding, distributed start."""
