"""Which batches the steps of a training take: pure functions of the recipe and the step, without torch.

Mostly all steps take batches of one shape. *Multigrid* training ("A multigrid method for efficiently training video
models", CVPR 2020, arXiv:1912.00998, section 3.2) lets batches grow as their clips shrink, in two cycles at once. The
shapes are those of its program, PySlowFast: the long cycle goes through ``T/4 x S/√2``, ``T/2 x S/√2``, ``T/2 x S`` and
``T x S`` (images and pixels of a clip), some epochs each; the short one through ``S/2``, ``S/√2`` and the long cycle's
size, another one in each step. A batch has as many times the clips as keeps the number of its pixels.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Literal

LONG_CYCLE = ((0.25, 0.5**0.5), (0.5, 0.5**0.5), (0.5, 1.0), (1.0, 1.0))
"""Parts of the images and of the pixels of a side, shape by shape."""
SHORT_CYCLE = (0.5, 0.5**0.5)
"""Parts of the pixels of a side, before the long cycle's own size."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The shape of a step's batch."""

    batch_size: int
    """Clips of the global batch."""
    micro_batch: int
    """Clips of a micro-batch."""
    clip_length: int
    """Images in a clip."""
    frame_interval: int
    """Stored images from one image of a dense clip to the next."""
    crop_size: int
    """Height and width in pixels."""
    lr_scale: float = 1.0
    """Factor of the learning rate."""

    @property
    def micro_pixels(self) -> int:
        """Pixels of a micro-batch: what its memory grows with."""
        return self.micro_batch * self.clip_length * self.crop_size**2

    def __str__(self) -> str:
        return f"{self.batch_size}x{self.clip_length}x{self.crop_size}"


Cycle = tuple[Grid, ...]
"""Shapes that steps take in turn."""
Phase = tuple[int, Cycle]
"""The first epoch in which a cycle is gone through, from 0, and the cycle."""


def multigrid_cycles(
    base: Grid,
    *,
    short_cycle: bool,
    long_cycle: bool,
    scale_lr: Literal["long", "both", "none"],
    micro_grows: bool,
) -> tuple[Cycle, ...]:
    """Return the short cycle of each shape of the long one; without a long one, that of ``base`` alone.

    Args:
        base: The full shape.
        short_cycle: Whether steps differ in their pixels; else each cycle is a single shape.
        long_cycle: Whether epochs differ.
        scale_lr: The linear scaling rule: the rate follows the batch of the long cycle's shape, or that of the step.
        micro_grows: Whether micro-batches grow with their batches; else there are more of them.
    """
    cycles = []
    for of_images, of_pixels in LONG_CYCLE if long_cycle else LONG_CYCLE[-1:]:
        length, size = _part(base.clip_length, of_images), _part(base.crop_size, of_pixels)
        sizes = [*[_part(base.crop_size, part) for part in SHORT_CYCLE] * short_cycle, size]
        factors = {"long": _times(base, length, size), "none": 1}
        cycle = []
        for side in sizes:
            times = _times(base, length, side)
            cycle.append(
                replace(
                    base,
                    batch_size=base.batch_size * times,
                    micro_batch=base.micro_batch * (times if micro_grows else 1),
                    clip_length=length,
                    frame_interval=base.frame_interval * (base.clip_length // length),
                    crop_size=side,
                    lr_scale=float(factors.get(scale_lr, times)),
                )
            )
        cycles.append(tuple(cycle))
    return tuple(cycles)


def long_cycle_starts(bounds: Sequence[int], cycles: Sequence[Cycle]) -> list[int]:
    """Return the epochs in which the shapes of a long cycle begin, which is gone through once between two bounds.

    A shape has epochs in proportion to its mean batch, and so as many steps as any other: rounded, shape by shape.
    """
    means = [sum(grid.batch_size for grid in cycle) / len(cycle) for cycle in cycles]
    before = [0.0, *accumulate(means[:-1])]
    return [begin + round((end - begin) * share / sum(means)) for begin, end in pairwise(bounds) for share in before]


class Calendar:
    """The steps of some epochs in a row: what batch each one has, and where in its epoch that stands.

    Steps are counted through all epochs, and shapes of a cycle taken in turn by that count. An epoch ends where the
    next batch would not be whole; one that is larger than the set is repeated until it is.

    Args:
        num_items: Videos of the part.
        phases: In their order; the first one begins with the first epoch.
        epochs: How many epochs there are.
    """

    def __init__(self, num_items: int, phases: Sequence[Phase], epochs: int) -> None:
        self._phases, self._first = tuple(phases), phases[0][0]
        self._begins = [0]
        for epoch in range(self._first, self._first + epochs):
            self._begins.append(self._begins[-1] + _num_steps(num_items, self._cycle(epoch, self._begins[-1])))

    @property
    def steps(self) -> list[int]:
        """How many each epoch has."""
        return [end - begin for begin, end in pairwise(self._begins)]

    @property
    def is_uniform(self) -> bool:
        """Whether all steps take batches of one shape."""
        return len(set(self.grids)) == 1

    @property
    def grids(self) -> list[Grid]:
        """All shapes, in the order of their phases."""
        return [grid for _, cycle in self._phases for grid in cycle]

    def before(self, epoch: int) -> int:
        """Return how many steps come before an epoch."""
        return self._begins[epoch - self._first]

    def num_steps(self, epoch: int) -> int:
        """Return how many steps an epoch has; what comes after the last one has as many."""
        return self.steps[min(epoch - self._first, len(self._begins) - 2)]

    def grid(self, epoch: int, step: int) -> Grid:
        """Return the shape of a step of an epoch, from 0."""
        return self._cycle(epoch, self.before(epoch) + step)[0]

    def position(self, epoch: int, step: int) -> int:
        """Return where in its epoch the batch of a step begins, in clips."""
        cycle = self._of_epoch(epoch)
        rounds, rest = divmod(step, len(cycle))
        return rounds * _clips(cycle) + _clips(cycle[:rest])

    def grid_at(self, epoch: int, position: int) -> Grid:
        """Return the shape of the step that the clip at a position of an epoch belongs to."""
        cycle = self._of_epoch(epoch)
        ends = list(accumulate(grid.batch_size for grid in cycle))
        return cycle[bisect_right(ends, position % ends[-1])]

    def described(self) -> Iterator[tuple[int, int, int, Cycle]]:
        """Yield first and last epoch (from 1) of each phase that has any, its steps, and its cycle."""
        ends = [*[begin for begin, _ in self._phases[1:]], self._first + len(self._begins) - 1]
        for (begin, cycle), end in zip(self._phases, ends, strict=True):
            if end > begin:
                yield begin + 1, end, self.before(end) - self.before(begin), cycle

    def _of_epoch(self, epoch: int) -> Cycle:
        return self._cycle(epoch, self.before(epoch))

    def _cycle(self, epoch: int, step: int) -> Cycle:
        """Return the cycle of an epoch as it goes on from a step that is counted through all epochs."""
        cycle = self._phases[bisect_right([begin for begin, _ in self._phases], epoch) - 1][1]
        turn = step % len(cycle)
        return cycle[turn:] + cycle[:turn]


def _num_steps(num_items: int, cycle: Cycle) -> int:
    rounds, left = divmod(num_items, _clips(cycle))
    rest = bisect_right(list(accumulate(grid.batch_size for grid in cycle)), left)
    return max(1, rounds * len(cycle) + rest)


def _clips(cycle: Cycle) -> int:
    return sum(grid.batch_size for grid in cycle)


def _part(whole: int, part: float) -> int:
    return max(1, round(whole * part))


def _times(base: Grid, length: int, size: int) -> int:
    return max(1, round(base.clip_length * base.crop_size**2 / (length * size**2)))
