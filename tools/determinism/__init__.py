"""Checks that a seeded answer is the same bit for bit, alone and under load, over every transport."""
