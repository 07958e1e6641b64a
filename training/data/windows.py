"""Windows of clips that are resized and mirrored on the device: the loader only cuts them out.

The loader's cores then have nothing to do with a clip but to decode it. The windows of a batch differ in size; they
travel one behind the other in one piece of memory, with nothing between them.

Axes: N clips, T frames or fields, H height, W width, C channels (RGB, or flow x and y, of each field of a stack).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

UInt8 = NDArray[np.uint8]
TOLERANCE = 1.0
"""Most that a code (0 to 255) which :meth:`Windows.resized` gives lies from that of the loader's own resizing, which
rounds weights to 11 bits, drops bits on the way (an eighth of a level darker on average) and ends at whole numbers."""


@dataclass(frozen=True, eq=False)
class Window:
    """What a crop leaves of one clip, as it is stored."""

    pixels: UInt8
    """``(T, H, W, C)``."""
    size: int
    """Height and width of the network's input in pixels."""
    flip: bool
    """Whether it is mirrored after resizing."""


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of a batch."""

    pixels: Tensor
    """``uint8``, one dimension: the pictures of the first window, then those of the second."""
    shapes: tuple[tuple[int, int, int, int], ...]
    """``(T, H, W, C)`` of each window."""
    flips: tuple[bool, ...]
    """Which of them are to be mirrored."""
    size: int
    """Height and width of the network's input in pixels."""

    @staticmethod
    def of(windows: Sequence[Window]) -> "Windows":
        """Put the windows of clips of one length and kind together."""
        shapes = [window.pixels.shape for window in windows]
        if len({(length, channels) for length, _, _, channels in shapes}) > 1 or len({w.size for w in windows}) > 1:
            raise ValueError(f"windows of clips that are not of the same shape but for height and width: {shapes}")
        pixels = np.empty(sum(window.pixels.size for window in windows), np.uint8)
        start = 0
        for window in windows:
            end = start + window.pixels.size
            pixels[start:end].reshape(window.pixels.shape)[...] = window.pixels
            start = end
        flips = tuple(window.flip for window in windows)
        return Windows(torch.from_numpy(pixels), tuple(shapes), flips, windows[0].size)

    def __len__(self) -> int:
        return len(self.shapes)

    def pin_memory(self) -> "Windows":
        """Copy to memory that a GPU reads without waiting."""
        return replace(self, pixels=self.pixels.pin_memory())

    def resized(self, device: torch.device, is_flow: bool | Sequence[int]) -> Tensor:
        """Move the windows to ``device``, resize them bilinearly there and mirror those that are to be.

        Pictures are sampled at the same points as the loader's, without smoothing beforehand; codes are not rounded.
        They lie at most :data:`TOLERANCE` from the loader's; those of a window that has the right size already are
        the same. A mirrored x flow is negated (``255 - v``).

        Args:
            device: Where to.
            is_flow: Whether the channels are x and y in turn; or which of the channels are x.

        Returns:
            Codes 0 to 255, float32 ``(N, T, H, W, C)`` whose memory is laid out as ``(N, C, T, H, W)``.
        """
        first, size = self.shapes[0], self.size
        if isinstance(is_flow, bool):
            negated: Sequence[int] = range(0, first[3] if is_flow else 0, 2)  # y lies between the x of a stack's fields
        else:
            negated = is_flow
        out_NCTHW = torch.empty((len(self), first[3], first[0], size, size), dtype=torch.float32, device=device)
        for i, window_THWC in enumerate(self._each(self.pixels.to(device, non_blocking=True))):
            x_CTHW = window_THWC.permute(3, 0, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
            if window_THWC.shape[1:3] != (size, size):
                x_CTHW = F.interpolate(x_CTHW, (size, size), mode="bilinear", align_corners=False, antialias=False)
            if self.flips[i]:
                x_CTHW = x_CTHW.flip(3)
                for channel in negated:
                    x_CTHW[channel].neg_().add_(255)
            out_NCTHW[i] = x_CTHW
        return out_NCTHW.permute(0, 2, 3, 4, 1)

    def _each(self, pixels: Tensor) -> Iterator[Tensor]:
        start = 0
        for shape in self.shapes:
            end = start + prod(shape)
            yield pixels[start:end].view(shape)
            start = end
