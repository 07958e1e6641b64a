"""Shard sets on disk: planned, written, read, checked and exported."""
