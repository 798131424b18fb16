"""The skills, one per file. Each makes conversations from a seeded random number generator."""
