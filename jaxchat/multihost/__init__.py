"""Serving one model from several processes: the followers, and the protocol between leader and followers."""
