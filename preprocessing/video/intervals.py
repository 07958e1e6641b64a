"""Segments of a file, in seconds or in frames."""

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from kinebert.preprocessing.errors import ConfigError

Unit = Literal["s", "frames"]


@dataclass(frozen=True)
class Interval:
    """A part of a file, half open: from ``start`` on, and up to but without ``end``.

    Seconds count from the file's first frame, frames from 0. A float stands for the shortest decimal number that is
    written so, and is compared exactly.

    Raises:
        ConfigError: If it is empty, begins before the file, or is cut at no whole number of frames.
    """

    start: float
    end: float | None
    """None: up to the end of the file."""
    unit: Unit

    def __post_init__(self) -> None:
        end = math.inf if self.end is None else self.end
        if self.unit not in ("s", "frames"):
            raise ConfigError(f"the unit of a segment is s or frames, got {self.unit!r}.")
        if self.start is None or not 0 <= self.start < math.inf:
            raise ConfigError(f"a segment begins at 0 or later, got {self.start}.")
        if not self.start < end or self.end == math.inf:
            raise ConfigError(f"a segment ends after it begins, got {self.start} to {self.end} {self.unit}.")
        if self.unit == "frames" and not all(value == int(value) for value in (self.start, self.end or 0)):
            raise ConfigError(f"frames have whole numbers, got {self.start} to {self.end}.")
        object.__setattr__(self, "start", float(self.start))  # 1 and 1.0 are one segment
        object.__setattr__(self, "end", None if self.end is None else float(self.end))

    def __str__(self) -> str:
        end = "end" if self.end is None else plain_number(self.end)
        return f"[{plain_number(self.start)}, {end}) {self.unit}"

    def suffix(self) -> str:
        """What makes an id of a file one of its segment: ``s0.5-2`` in seconds, ``f30-90`` in frames."""
        end = "end" if self.end is None else plain_number(self.end)
        return f"{self.unit[0]}{plain_number(self.start)}-{end}"

    def share(self, duration_s: float, fps: float) -> float:
        """Share of a file that the segment is, 0 to 1, as far as the header tells; 1 where it does not."""
        length = duration_s * fps if self.unit == "frames" else duration_s
        if length <= 0:
            return 1.0
        return max(0.0, min(length, length if self.end is None else self.end) - self.start) / length


def plain_number(value: float) -> str:
    """A number as the shortest decimal that stands for it, without an exponent or zeros at its end."""
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def exact(value: float) -> Fraction:
    """The decimal number that ``value`` is written as: a tenth for 0.1, not the nearest double."""
    return Fraction(repr(value))
