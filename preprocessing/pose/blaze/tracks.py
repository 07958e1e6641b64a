"""People followed from frame to frame: each keeps its place, comes in, is lost and found, and goes.

What happens at a frame depends on it and on those before it alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.pose.blaze.bodies import Body, Region

UInt8 = NDArray[np.uint8]

_NEAR = 0.25
"""Regions that are no farther apart than this are of one person; see :meth:`Region.apart`."""
_REACH = 1.0
"""Farthest, by the same measure, that somebody who was lost is looked for."""
_LEAST_REACH = 6.0
"""Pixels: no landmarks are found in less."""


@dataclass
class Track:
    """Somebody who is followed."""

    place: int
    """Among the people of a frame, from 0."""
    region: Region
    """Where to look for the body in this frame."""
    body: Body | None
    """What was found in this frame."""
    missing: int = 0
    """For how many frames nothing was found."""

    def next_frame(self) -> None:
        """Look on where the body was; where nothing was found, at the same place again."""
        self.region = self.body.region if self.body is not None else self.region

    def see(self, body: Body) -> None:
        """Take what was found."""
        self.body, self.missing = body, 0

    def lose(self) -> None:
        """Take that nothing was found."""
        self.body, self.missing = None, self.missing + 1

    @property
    def moved(self) -> float:
        """How far the body is from where it was looked for."""
        return 0.0 if self.body is None else self.region.apart(self.body.region)


@dataclass(frozen=True, kw_only=True)
class TrackParams:
    """When people are looked for, kept and given up. See ``BlazePoseParams``."""

    most_people: int
    detect_every: int
    presence: float
    keep_presence: float
    same_body: float
    patience: int


class Tracker:
    """Follows the people of one video.

    Args:
        detect: Finds regions in a picture, RGB ``(H, W, 3)``, the surest first.
        look: Finds the body in a region of a picture.
        params: When people are looked for, kept and given up.
    """

    def __init__(
        self,
        detect: Callable[[UInt8], list[Region]],
        look: Callable[[UInt8, Region], Body],
        params: TrackParams,
    ) -> None:
        self._detect, self._look, self._params = detect, look, params
        self._tracks: list[Track] = []
        self._frames = 0

    def __call__(self, rgb_HW3: UInt8) -> list[tuple[int, Body]]:
        """Return the people of the next frame with their places, in the order of these."""
        for track in self._tracks:
            self._follow(track, rgb_HW3)
        self._part()
        lost = any(track.body is None for track in self._tracks)
        if lost or not self._tracks or self._frames % self._params.detect_every == 0:
            self._take_in(rgb_HW3)
        self._tracks = [track for track in self._tracks if track.missing <= self._params.patience]
        self._frames += 1
        return [(track.place, track.body) for track in self._tracks if track.body is not None]

    def _follow(self, track: Track, rgb_HW3: UInt8) -> None:
        track.next_frame()
        body = self._look(rgb_HW3, track.region)
        if body.presence > self._params.keep_presence and _possible(body.region, rgb_HW3):
            track.see(body)
        else:
            track.lose()

    def _part(self) -> None:
        """Where two tracks have fallen on one body, leave it to the one that was nearer to it before."""
        for i, one in enumerate(self._tracks):
            for other in self._tracks[i + 1 :]:
                if one.body is not None and other.body is not None and self._same(one.body, other.body):
                    (one if one.moved > other.moved else other).lose()

    def _same(self, one: Body, other: Body) -> bool:
        return one.apart(other) <= self._params.same_body

    def _take_in(self, rgb_HW3: UInt8) -> None:
        """Find those whom nobody follows: one who was lost near by, or somebody new."""
        fresh = list[Body]()
        for region in self._detect(rgb_HW3):
            seen = [track.body for track in self._tracks if track.body is not None] + fresh
            if any(region.apart(body.region) <= _NEAR for body in seen) or not _possible(region, rgb_HW3):
                continue
            body = self._look(rgb_HW3, region)
            if body.presence <= self._params.presence or not _possible(body.region, rgb_HW3):
                continue
            if any(self._same(body, other) for other in seen):
                continue
            missing = [track for track in self._tracks if track.body is None]
            nearest = min(missing, key=lambda track: track.region.apart(body.region), default=None)
            if nearest is not None and nearest.region.apart(body.region) <= _REACH:
                nearest.see(body)
            else:
                fresh.append(body)
        for body in sorted(fresh, key=lambda body: float(body.region.centre_2[0])):
            taken = {track.place for track in self._tracks}
            place = min(set(range(len(taken) + 1)) - taken)
            if place < self._params.most_people:
                self._tracks.append(Track(place=place, region=body.region, body=body))
        self._tracks.sort(key=lambda track: track.place)


def _possible(region: Region, rgb_HW3: UInt8) -> bool:
    """Whether a person may be there: large enough, not larger than can be seen, with the hips near the picture."""
    height, width = rgb_HW3.shape[:2]
    x, y = region.centre_2
    margin = region.reach / 2
    inside = -margin <= x <= width + margin and -margin <= y <= height + margin
    return bool(inside and _LEAST_REACH <= region.reach <= 2 * max(height, width))
