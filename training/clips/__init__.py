"""Which images make a clip, and which clips a batch: pure functions on numpy arrays. Knows no torch."""
