"""A part of a picture."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """A rectangle of a picture, in pixels, inside of it."""

    top: int
    left: int
    height: int
    width: int

    def doubled(self) -> "Part":
        """Return the same rectangle of a picture of twice the size."""
        return Part(2 * self.top, 2 * self.left, 2 * self.height, 2 * self.width)

    def inside(self, height: int, width: int) -> "Part":
        """Return what of it lies inside a picture of that size."""
        return Part(self.top, self.left, min(self.height, height - self.top), min(self.width, width - self.left))
