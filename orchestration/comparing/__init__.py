"""Runs side by side: what differs between them, and whether it matters."""
