"""Weights of the networks that the BERT papers start from, and of their own."""
