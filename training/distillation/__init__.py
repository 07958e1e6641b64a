"""Learning from a trained network as well as from labels."""
