"""Vectorised sampling: pure functions on `[S, V]` rows. A row's result depends on that row alone."""
