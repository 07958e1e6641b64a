"""Tensors in, scores out: models, clips from shards, training step and loop, metrics. Knows no Ray and no MLflow."""
