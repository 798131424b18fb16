"""Random requests, valid and invalid, and checks of their answers."""
