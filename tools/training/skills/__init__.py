"""One file per skill; each makes conversations from a seeded generator of random numbers."""
