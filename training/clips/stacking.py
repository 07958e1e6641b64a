"""Which flow fields are stacked in the channels of each time step of a clip.

A stack is ``stack`` consecutive fields: that of a step begins where the clip's sampling puts the step. Stacks lie
inside the video, so that a video of n fields has ``n - stack + 1`` places for one, and sampling chooses among places as
it chooses among images otherwise; a clip that is too long for them goes on from the first place. A video with fewer
fields than a stack has one place, and repeats its last field there. Source: "Two-stream convolutional networks for
action recognition in videos", NIPS 2014, arXiv:1406.2199, section 3.1; the repeated field is that of TSN's program.

Axes: T time steps, L fields of a stack.
"""

from typing import TypeVar

import numpy as np

from kinebert.training.clips.sampling import Indices

Number = TypeVar("Number", int, Indices)


def places(num_fields: Number, stack: int) -> Number:
    """Return how many stacks begin at fields of a video, or of each of some videos; at least one."""
    if isinstance(num_fields, np.ndarray):
        return np.maximum(num_fields - stack + 1, 1)
    return max(num_fields - stack + 1, 1)


def stacks(places_T: Indices, stack: int, num_fields: int) -> Indices:
    """Return the fields of the stack at each place, in the order of time: ``(T, L)``."""
    fields_TL: Indices = np.minimum(places_T[:, None] + np.arange(stack, dtype=np.int64), num_fields - 1)
    return fields_TL
