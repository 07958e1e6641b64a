"""Weights of networks of frames, from the repositories of single papers."""
