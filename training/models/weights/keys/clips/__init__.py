"""Weights of networks of clips, from the repositories of single papers."""
