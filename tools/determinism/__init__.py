"""Checks that seeded answers are equal bit for bit: alone and under load, in process, over gRPC and over REST."""
