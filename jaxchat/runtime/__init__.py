"""The device side: compiled programs, KV pages, slot state, mesh, warm-up and fingerprint."""
