"""Trainings on Ray Train: how many workers, who they are, what they do, and how the driver hears them."""
