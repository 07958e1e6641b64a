"""What was found out about one thing: all right, worth a note, or wrong."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A line of a diagnosis."""

    subject: str
    """What was looked at, such as ``memory``."""
    state: State
    """``ok``; ``note``: it works, and something is worth to be known; ``wrong``: something will fail."""
    found: str
    """What is there."""
    remedy: str = ""
    """What to do, as a sentence; empty where there is nothing to do."""


def ok(subject: str, found: str) -> Finding:
    """Return that a thing is all right."""
    return Finding(subject=subject, state="ok", found=found)


def note(subject: str, found: str, remedy: str = "") -> Finding:
    """Return that a thing works, and what is worth to be known of it."""
    return Finding(subject=subject, state="note", found=found, remedy=remedy)


def wrong(subject: str, found: str, remedy: str = "") -> Finding:
    """Return that a thing will fail."""
    return Finding(subject=subject, state="wrong", found=found, remedy=remedy)


def size(num_bytes: float) -> str:
    """Return a number of bytes as text, such as ``29 MiB`` or ``3.4 GiB``."""
    if num_bytes < 2**30:
        return f"{num_bytes / 2**20:.0f} MiB"
    return f"{num_bytes / 2**30:.{0 if num_bytes >= 100 * 2**30 else 1}f} GiB"
