"""Which frames of a file are given, decided one by one while it is decoded: every n-th, or those of its segments."""

from collections import deque
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Protocol

from kinebert.preprocessing.video.container import OpenVideo, Unusable
from kinebert.preprocessing.video.intervals import Interval, Unit, exact
from kinebert.preprocessing.video.still_frames import Luma, StillCounts, StillFrames, UInt8


class Choice(Protocol):
    """Chooses frames of a file while it is decoded from its beginning."""

    finished: bool
    """No other frame is wanted."""

    def begin(self, video: OpenVideo) -> None:
        """Take note of the file, before its packets."""

    def hear(self, packet: Any) -> None:
        """Take note of a packet of the video, before its frames."""

    def takes(self, frame: Any) -> bool:
        """Whether to give the next frame, one after the other in the decoder's output order."""


class EveryNth:
    """Takes the first frame, and every ``step``-th after it.

    Args:
        step: As in a recipe.
        drop_repeats: Leave out frames that repeat the one before, and count the others only.
    """

    finished = False

    def __init__(self, step: int, drop_repeats: bool = False) -> None:
        self._run, self._luma = Run(step, drop_repeats), Luma()

    def begin(self, video: OpenVideo) -> None:
        """Nothing of the file matters."""

    def hear(self, packet: Any) -> None:
        """Nothing of packets matters."""

    def takes(self, frame: Any) -> bool:
        """Whether to give this frame."""
        return self._run.takes(self._luma.of(frame))

    @property
    def run(self) -> "Run":
        """What was taken, and how many frames show no motion."""
        return self._run


class Run:
    """Frames of a file or segment, of which every ``step``-th is taken; those that show no motion are counted.

    With ``drop_repeats``, frames that repeat the one before are left out first; else those among the taken ones count.
    """

    def __init__(self, step: int, drop_repeats: bool) -> None:
        self._step, self._drop = step, drop_repeats
        self._still = StillFrames()
        self.num_frames = 0
        """Frames until now, with those that were left out."""
        self.distinct: list[int] = []
        """With ``drop_repeats``, the numbers of the frames that are no repeats."""
        self._count = 0

    def takes(self, luma_RW: UInt8) -> bool:
        """Whether the next frame is taken, by its samples of luma."""
        self.num_frames += 1
        if self._drop:
            if self._still.repeats(luma_RW):
                return False
            self.distinct.append(self.num_frames - 1)
        taken = self._count % self._step == 0
        self._count += 1
        if taken and not self._drop:
            self._still.repeats(luma_RW)
        return taken

    @property
    def still(self) -> StillCounts:
        """How many frames show no motion, of those that are taken; or were left out."""
        return self._still.counts


class Cuts:
    """Takes the frames of several intervals of one file, which may overlap; each has every ``step``-th of its own.

    Args:
        intervals: None stands for the whole file.
        step: Counted from each interval's first frame.
        drop_repeats: As of :class:`EveryNth`, for each interval by itself.
        on_frame: Called for every frame of the file; an exception of it ends decoding and is kept as ``error``.

    Attributes:
        members: Positions of the intervals that the last taken frame belongs to.
        closed: Positions of the intervals whose end was seen.
        num_frames: Frames of the file until now.
        error: What ``on_frame`` raised.
    """

    def __init__(
        self,
        intervals: Sequence[Interval | None],
        step: int,
        on_frame: Callable[[], None],
        drop_repeats: bool = False,
    ) -> None:
        self._on_frame = on_frame
        self._runs, self._luma = [Run(step, drop_repeats) for _ in intervals], Luma()
        self._waiting: dict[Unit, list[tuple[Fraction, Fraction | None, int]]] = {"s": [], "frames": []}
        for i, interval in enumerate(intervals):
            found = interval or Interval(0, None, "frames")
            end = None if found.end is None else exact(found.end)
            self._waiting[found.unit].append((exact(found.start), end, i))
        for waiting in self._waiting.values():
            waiting.sort(key=lambda entry: entry[0], reverse=True)  # the next is the last
        self._open: dict[int, tuple[Unit, Fraction | None]] = {}
        self._needs_times = bool(self._waiting["s"])
        self._clock = _Clock()
        self.members: list[int] = []
        self.closed: set[int] = set()
        self.num_frames = 0
        self.finished = False
        self.error: Exception | None = None

    def begin(self, video: OpenVideo) -> None:
        """Take note of how the file tells times."""
        self._clock.begin(video)

    def hear(self, packet: Any) -> None:
        """Take note of a packet of the video, before its frames."""
        self._clock.hear(packet)

    @property
    def length_s(self) -> float | None:
        """Seconds of the file until now; None where nothing tells them."""
        return None if self._clock.end_s is None else float(self._clock.end_s)

    def takes(self, frame: Any) -> bool:
        """Whether an interval wants this frame; then ``members`` says which."""
        try:
            self._on_frame()
        except Exception as error:
            self.error, self.finished = error, True
            return False
        time_s = self._clock.time_of(frame, self.num_frames)
        if time_s is None and self._needs_times:
            raise Unusable("it has no time stamps and no frame rate: give its segments in frames")
        now: dict[Unit, Fraction] = {"frames": Fraction(self.num_frames), "s": time_s or Fraction(0)}
        self.num_frames += 1
        self._open_and_close(now)
        if self._open:
            luma_RW = self._luma.of(frame)
            self.members = [i for i in self._open if self._runs[i].takes(luma_RW)]
        else:
            self.members = []
        self.finished = not self._open and not any(self._waiting.values())
        return bool(self.members)

    def reached(self) -> set[int]:
        """Positions of the intervals that are whole though no frame came after them: the last one was shown so long."""
        ends: dict[Unit, Fraction | None] = {"frames": Fraction(self.num_frames), "s": self._clock.end_s}
        return self.closed | {
            i
            for i, (unit, end) in self._open.items()
            if end is not None and (until := ends[unit]) is not None and until >= end
        }

    def still(self, i: int) -> StillCounts:
        """How many frames of an interval show no motion, by its position."""
        return self._runs[i].still

    def _open_and_close(self, now: dict[Unit, Fraction]) -> None:
        for unit, waiting in self._waiting.items():
            while waiting and waiting[-1][0] <= now[unit]:
                _, end, i = waiting.pop()
                self._open[i] = (unit, end)
        over = {i for i, (unit, end) in self._open.items() if end is not None and end <= now[unit]}
        self.closed |= over
        for i in over:
            del self._open[i]


class _Clock:
    """When frames are shown, in seconds from the first one, as exact numbers; never backwards.

    AVI files have no presentation times, only an order of decoding, in which frames that refer to later ones come with
    the wrong stamps: there the n-th picture is shown when the n-th packet comes. Streams without any stamps go by their
    frame rate.
    """

    def __init__(self) -> None:
        self._by_packets = False
        self._slots: deque[Fraction | None] = deque()
        self._between: Fraction | None = None
        self._zero: Fraction | None = None
        self._now = Fraction(0)
        self.end_s: Fraction | None = None

    def begin(self, video: OpenVideo) -> None:
        self._by_packets = video.container.format.name == "avi"
        rate = video.stream.average_rate or video.stream.guessed_rate
        self._between = 1 / Fraction(rate) if rate else None

    def hear(self, packet: Any) -> None:
        if self._by_packets and packet.size:
            self._slots.append(None if packet.dts is None else packet.dts * packet.time_base)

    def time_of(self, frame: Any, number: int) -> Fraction | None:
        """Time of the next frame, the one with this ``number``; None if nothing tells it."""
        stamp = self._stamp(frame)
        if stamp is None:
            if self._between is None:
                return None
            stamp = (self._zero or Fraction(0)) + (self._now + self._between if number else Fraction(0))
        self._zero = stamp if self._zero is None else self._zero
        self._now = max(self._now, stamp - self._zero)
        lasts = frame.duration * frame.time_base if frame.duration and frame.time_base else self._between
        self.end_s = self._now + (lasts or 0)
        return self._now

    def _stamp(self, frame: Any) -> Fraction | None:
        if self._by_packets:
            return self._slots.popleft() if self._slots else None
        return None if frame.pts is None or frame.time_base is None else Fraction(frame.pts * frame.time_base)
