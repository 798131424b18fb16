"""Checks that seeded answers are equal bit for bit: alone and under load, through every door."""
