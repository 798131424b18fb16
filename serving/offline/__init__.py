"""Chat requests from files: batches, and records of answers that are compared with new ones."""
