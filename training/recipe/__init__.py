"""What a user writes of a training: TOML files as frozen dataclasses. Knows no torch."""
