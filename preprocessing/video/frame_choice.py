"""Which frames of a file are given, decided one by one while it is decoded: every n-th, or those of its segments."""

from collections import deque
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Protocol

from kinebert.preprocessing.video.container import OpenVideo, Unusable
from kinebert.preprocessing.video.intervals import Interval, Unit, exact


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
    """Takes the first frame, and every ``step``-th after it."""

    finished = False

    def __init__(self, step: int) -> None:
        self._step, self._count = step, 0

    def begin(self, video: OpenVideo) -> None:
        """Nothing of the file matters."""

    def hear(self, packet: Any) -> None:
        """Nothing of packets matters."""

    def takes(self, frame: Any) -> bool:
        """Whether to give this frame."""
        self._count += 1
        return (self._count - 1) % self._step == 0


class Cuts:
    """Takes the frames of several intervals of one file, which may overlap; each has every ``step``-th of its own.

    Args:
        intervals: None stands for the whole file.
        step: Counted from each interval's first frame.
        on_frame: Called for every frame of the file; an exception of it ends decoding and is kept as ``error``.

    Attributes:
        members: Positions of the intervals that the last taken frame belongs to.
        closed: Positions of the intervals whose end was seen.
        num_frames: Frames of the file until now.
        error: What ``on_frame`` raised.
    """

    def __init__(self, intervals: Sequence[Interval | None], step: int, on_frame: Callable[[], None]) -> None:
        self._step, self._on_frame = step, on_frame
        self._waiting: dict[Unit, list[tuple[Fraction, Fraction | None, int]]] = {"s": [], "frames": []}
        for i, interval in enumerate(intervals):
            found = interval or Interval(0, None, "frames")
            end = None if found.end is None else exact(found.end)
            self._waiting[found.unit].append((exact(found.start), end, i))
        for waiting in self._waiting.values():
            waiting.sort(key=lambda entry: entry[0], reverse=True)  # the next is the last
        self._open: dict[int, tuple[Unit, Fraction | None, int]] = {}
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
        self.members = [i for i, (_, _, count) in self._open.items() if count % self._step == 0]
        self._open = {i: (unit, end, count + 1) for i, (unit, end, count) in self._open.items()}
        self.finished = not self._open and not any(self._waiting.values())
        return bool(self.members)

    def reached(self) -> set[int]:
        """Positions of the intervals that are whole though no frame came after them: the last one was shown so long."""
        ends: dict[Unit, Fraction | None] = {"frames": Fraction(self.num_frames), "s": self._clock.end_s}
        return self.closed | {
            i
            for i, (unit, end, _) in self._open.items()
            if end is not None and (until := ends[unit]) is not None and until >= end
        }

    def _open_and_close(self, now: dict[Unit, Fraction]) -> None:
        for unit, waiting in self._waiting.items():
            while waiting and waiting[-1][0] <= now[unit]:
                _, end, i = waiting.pop()
                self._open[i] = (unit, end, 0)
        over = {i for i, (unit, end, _) in self._open.items() if end is not None and end <= now[unit]}
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
