"""What flow of a few pairs costs here: decoded, solved and encoded as in an extraction, and then thrown away."""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cv2

from kinebert.preprocessing.errors import UserError, VideoError
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.one_video import OpenVideo, extract_frames
from kinebert.preprocessing.extraction.timing import OFF
from kinebert.preprocessing.recipe import FlowRecipe
from kinebert.preprocessing.sets.plan import PlannedVideo

_SECONDS = 2.5
"""That the pairs of the first recipe may take; those of the others take less."""
_PROBED, _LEAST, _MOST = 2, 4, 48
"""Pairs by whose time it is decided how many are measured; fewest and most of these."""


_STILL = 60
"""Frames at a video's beginning that are passed over where there are more: many clips begin before anything moves, and
flow of what stands still is solved in half the time."""


@dataclass(frozen=True)
class PairCost:
    """What was measured of one recipe."""

    pairs: int = 0
    """0 where none could be solved."""
    seconds: float = 0.0
    """Of all these pairs together."""

    def __add__(self, other: "PairCost") -> "PairCost":
        return PairCost(self.pairs + other.pairs, self.seconds + other.seconds)

    @property
    def each_s(self) -> float:
        """Seconds of one pair."""
        return self.seconds / self.pairs


def measure_pairs(
    videos: Sequence[PlannedVideo], recipes: Sequence[FlowRecipe], open_video: OpenVideo, solver: FlowSolver
) -> list[PairCost]:
    """Return what pairs of ``videos`` cost with each of the recipes, in a few seconds.

    The first recipe decides how many pairs are looked at, the others have half as many. What cannot be decoded, and a
    recipe that the solver cannot follow, count nothing.
    """
    cv2.setNumThreads(1)  # as in a task
    measure = partial(_measure, videos, open_video=open_video, solver=solver)
    first = recipes[0]
    measure(first, _PROBED)  # what is slow once, such as the first kernel, is over now
    most = _MOST
    if solver.on_gpu:
        pairs = most = solver.pairs_at_once(first.height, first.width)  # in fewer a GPU is not at its speed
    else:
        probed = measure(first, _PROBED)
        pairs = int(_SECONDS / max(probed.each_s, 1e-6)) if probed.pairs else _LEAST
    pairs = min(max(pairs, _LEAST), most)
    return [measure(first, pairs), *(measure(other, max(_LEAST, pairs // 2)) for other in recipes[1:])]


def _measure(
    videos: Sequence[PlannedVideo], recipe: FlowRecipe, num_pairs: int, *, open_video: OpenVideo, solver: FlowSolver
) -> PairCost:
    """Measure so many pairs of all videos together."""
    each = -(-num_pairs // len(videos))
    found = PairCost()
    try:
        ready = solver.ready(recipe.tvl1)
        for video in videos:
            found += _of_video(video, recipe, min(each, num_pairs - found.pairs), open_video, ready)
    except UserError:  # a solver that lacks what another preset asks for
        return PairCost()
    return found


def _of_video(
    video: PlannedVideo, recipe: FlowRecipe, num_pairs: int, open_video: OpenVideo, solver: FlowSolver
) -> PairCost:
    if num_pairs < 1:
        return PairCost()
    begin = time.monotonic()
    recipe = replace(recipe, min_frames=2)
    try:
        decoded = list(itertools.islice(open_video(video.path, recipe, OFF), _STILL + num_pairs + 1))
        kept = _Decoded(decoded[-(num_pairs + 1) :])
        decoding = (time.monotonic() - begin) * len(kept.frames) / max(len(decoded), 1)
        begin = time.monotonic()
        summary, _ = extract_frames(video.video_id, kept, recipe, lambda: None, solver)
    except VideoError:
        return PairCost()
    return PairCost(summary.num_images, decoding + time.monotonic() - begin)


@dataclass
class _Decoded:
    """Frames of a video; that it goes on is no problem of it."""

    frames: Sequence[Any]
    problem: str | None = None

    def __iter__(self) -> Iterator[Any]:
        return iter(self.frames)
