"""A multihost group: its followers, and the protocol between leader and followers."""
