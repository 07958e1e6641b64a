"""Numbers that networks are built with: checked, and scaled."""

from kinebert.preprocessing.errors import ConfigError

MOST_LAYERS = 256
"""Of a head: far beyond any use, and still built at once where an untrusted checkpoint asks for as many."""


def positive(**values: float) -> None:
    """Raise a ConfigError that names the first of ``values`` that is not positive."""
    for name, value in values.items():
        if not value > 0:
            raise ConfigError(f"{name} must be positive, got {value}.")


def within(least: int, most: int, **values: int) -> None:
    """Raise a ConfigError that names the first of ``values`` that is below ``least`` or above ``most``."""
    for name, value in values.items():
        if not value >= least:
            raise ConfigError(f"{name} must be at least {least}, got {value}.")
        if value > most:
            raise ConfigError(f"{name} must be at most {most}, got {value}.")


def scaled(channels: int, width: float) -> int:
    """Return ``channels`` times ``width`` as the nearest multiple of 8, 8 at least; as they are for ``width`` 1."""
    return channels if width == 1 else max(8, 8 * round(channels * width / 8))
