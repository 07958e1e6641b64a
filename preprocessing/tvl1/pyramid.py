"""Sizes of the pyramid, the same for every solver."""

from kinebert.preprocessing.tvl1.params import TvL1Params

MIN_SIDE = 16
"""Shortest side that a level of the pyramid has, in pixels."""


def level_sizes(height: int, width: int, params: TvL1Params) -> list[tuple[int, int]]:
    """Return ``(height, width)`` of every level, the finest first.

    A side is rounded half to even, as OpenCV does, while the distance of the samples stays exactly ``1 / scale_step``.
    """
    sizes = [(height, width)]
    while len(sizes) < params.nscales:
        smaller = round(sizes[-1][0] * params.scale_step), round(sizes[-1][1] * params.scale_step)
        if min(smaller) < MIN_SIDE:
            break
        sizes.append(smaller)
    return sizes
