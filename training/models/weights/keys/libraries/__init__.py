"""Weights of libraries of video networks."""
