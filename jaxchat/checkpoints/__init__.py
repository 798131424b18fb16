"""Reading and writing weights: one file for each stored form."""
