"""Searches over the fields of a recipe, on Ray Tune, recorded in MLflow."""
