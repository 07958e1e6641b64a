"""TSM: some channels of each frame are those of the frame after, some those of the frame before.

Source: "TSM: temporal shift module for efficient video understanding", ICCV 2019, arXiv:1811.08383; the published
program shifts every second block of networks with 23 blocks in a stage.

Axes: N clips, T frames, B = N x T, C channels, H height, W width.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from kinebert.preprocessing.lookup import find
from kinebert.training.models.arguments import within
from kinebert.training.models.temporal.registry import Maker, Place, TemporalModule, register_temporal
from kinebert.training.models.temporal.steps import as_clips, earlier, later

DEEP = 23
"""Blocks in a stage from which on the published program shifts every second block only."""
PLACES: dict[str, Callable[[Maker], TemporalModule]] = {
    "blockres": lambda shift: TemporalModule(inside=shift),
    "block": lambda shift: TemporalModule(before=shift),
}
"""Where a shift stands: in front of a block's first convolution, the shortcut apart, or of both."""


class Shift(nn.Module):
    """Move the first share of the channels one frame earlier, the second one frame later; nothing comes in at the ends.

    Args:
        channels: C.
        div: C over the channels of one share, rounded down.
        online: Move the first share one frame later, and no other: what a camera has seen so far.
    """

    def __init__(self, channels: int, div: int, online: bool) -> None:
        super().__init__()
        share = channels // div
        self.shares = [0, share, channels - share] if online else [share, share, channels - 2 * share]

    def forward(self, x_BCHW: Tensor, clips: int) -> Tensor:
        """Map ``(N x T, C, H, W)`` to ``(N x T, C, H, W)``."""
        # One copy of the map, and one of the shares: as views of one split, their gradients are one copy as well.
        from_next, from_last, rest = torch.split(as_clips(x_BCHW, clips), self.shares, dim=2)
        parts = [] if not self.shares[0] else [earlier(from_next)]
        return torch.cat([*parts, later(from_last), rest], dim=2).flatten(0, 1)


@register_temporal("tsm")
def tsm(
    *, shift_div: int = 8, shift_place: str = "blockres", shift_every: int = 0, shift_online: bool = False
) -> TemporalModule:
    """Shift channels between neighbouring frames: TSM.

    Args:
        shift_div: C over the channels that are moved one way; 8 is published.
        shift_place: Key of :data:`PLACES`.
        shift_every: Blocks of a stage from one shifted block to the next; 0 as published.
        shift_online: Move channels from the frame before alone.
    """
    within(1 if shift_online else 2, 2**16, shift_div=shift_div)
    within(0, 2**16, shift_every=shift_every)
    place_it = find(PLACES, shift_place, "place of a shift")
    return place_it(partial(_shift, shift_div, shift_every, shift_place == "blockres", shift_online))


def _shift(div: int, every: int, sparing: bool, online: bool, channels: int, place: Place) -> nn.Module | None:
    published = 2 if sparing and place.longest >= DEEP else 1
    return None if place.index % (every or published) else Shift(channels, div, online)
