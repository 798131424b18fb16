"""Vectorised sampling: pure functions on `[S, V]` rows; a row's result depends on that row alone."""
