"""Progress for people: one line that moves in a terminal, one line now and then in the log of a job."""

import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from kinebert.orchestration import watched_metrics as watched
from kinebert.orchestration.printing import MovingText
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.plain_text import visible
from kinebert.preprocessing.sets.plan import estimated_frames
from kinebert.preprocessing.sets.writer import VideoSummary

if TYPE_CHECKING:
    from kinebert.orchestration.audience import Line

LOG_INTERVAL_S = 10.0
_TERMINAL_INTERVAL_S = 0.2
_TICK_S = 0.5


class ProgressLine:
    """Shows a line of text that keeps changing, as often as the reader can use it. Writes to ``stream``.

    In a terminal it stays on one line, however narrow that is, and makes way for whatever else is printed; only the
    last state is shown in full. A log, or a terminal that cannot move its cursor, gets a line now and then.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream or sys.stderr, clock
        is_terminal = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._moving = MovingText(self._stream) if is_terminal else None
        self._last = -float("inf") if self._moving else clock()

    def show(self, text: Callable[[], str]) -> None:
        """Show ``text()`` if it is time to."""
        now = self._clock()
        if now - self._last < (_TERMINAL_INTERVAL_S if self._moving else LOG_INTERVAL_S):
            return
        self._last = now
        if self._moving:
            self._moving.draw(visible(text()))
        else:
            self._stream.write(visible(text()) + "\n")
            self._stream.flush()

    def close(self, text: str) -> None:
        """Show the last state, whatever the time, and end the line."""
        if self._moving:
            self._moving.close()
        self._stream.write(visible(text) + "\n")
        self._stream.flush()


class Ticker:
    """Shows a text on a line again and again, from a thread of its own: where nothing is heard for a while.

    Args:
        line: Where it is shown, as often as that shows anything.
        text: What.
    """

    def __init__(self, line: "Line", text: Callable[[], str]) -> None:
        self._line, self._text, self._over = line, text, threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Show it no more, from now on."""
        self._over.set()
        self._thread.join()

    def __enter__(self) -> "Ticker":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        with suppress(OSError, ValueError):  # a terminal that was closed
            while not self._over.wait(_TICK_S):
                self._line.show(self._text)


class Counted:
    """Puts work that is counted into words: how much of how much, and how long the rest takes.

    The first count that is heard of may hold what was done earlier, and took no time; the speed is that from there on.

    Args:
        what: Is counted: ``views``.
        clock: Seconds.
    """

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._clock = what, clock
        self._first: tuple[float, int] | None = None
        self._last: tuple[float, int] = (0.0, 0)

    def __call__(self, done: int, total: int) -> Callable[[], str]:
        """Take note of a count, and return what a line shows of it."""
        now = self._clock()
        self._first = self._first or (now, done)
        if done != self._last[1]:
            self._last = (now, done)
        return lambda: f"{done}/{total} {self._what}, {self._left(done, total)} left"

    def _left(self, done: int, total: int) -> str:
        assert self._first is not None, "a count was heard of"
        begin, before = self._first
        now = self._clock()
        return time_left(now - begin, done - before, total - done, now - self._last[0])


def time_left(elapsed_s: float, done: float, rest: float, waited_s: float = 0.0) -> str:
    """How long the ``rest`` of the work will take, if it goes on as what is ``done`` went in ``elapsed_s`` seconds.

    Args:
        elapsed_s: Seconds since the beginning.
        done: Work that is done, in any unit.
        rest: Work that is not, in the same unit.
        waited_s: Seconds since the last news. More of them than all the rest should take mean that nobody knows.
    """
    if done <= 0:
        return "unknown"
    left_s = elapsed_s * rest / done
    return duration(left_s) if rest <= 0 or left_s >= max(waited_s, 0.5) else "unknown"


def duration(seconds: float) -> str:
    """``75`` to ``1 min 15 s``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class VideoProgress:
    """Turns reports of videos into the progress line. Speed and time left are of the videos that are not ``kept``.

    Args:
        rows: All videos of the job.
        kept: Those whose shards are there already.
        line: Where it is shown.
        export: Takes the numbers of the videos that are not kept, for whoever watches from outside.
        with_flow: Whether optical flow is solved.
    """

    def __init__(
        self,
        rows: Sequence[ManifestRow],
        kept: Collection[str],
        line: "Line",
        export: watched.Exporter | None = None,
        with_flow: bool = False,
    ) -> None:
        self._export, self._with_flow = export, with_flow
        self._num_videos = len(rows)
        estimates = estimated_frames(rows)
        self._weights = {row.video_id: estimates[row.video_id] for row in rows if row.video_id not in kept}
        self._rest = sum(self._weights.values())
        self._line = line
        self._start = self._news = time.monotonic()
        self._heard: set[str] = set()
        self._frames = self._new_frames = self._rejected = 0
        self._weight = 0.0

    def hear(self, videos: Sequence[VideoSummary]) -> None:
        """Take note of videos that are done; those that were heard of before count once."""
        news = [
            video for video in {video.video_id: video for video in videos}.values() if video.video_id not in self._heard
        ]
        for video in news:
            self._heard.add(video.video_id)
            self._frames += video.num_frames
            self._rejected += video.rejected
            if video.video_id in self._weights:
                estimate = self._weights[video.video_id]
                self._new_frames += video.num_frames
                self._rest -= estimate
                self._weight += min(estimate, max(1.0, video.num_frames))  # a header may promise the moon
                self._news = time.monotonic()
        self._tell([video for video in news if video.video_id in self._weights])
        self._line.show(self._text)

    def shards_left(self, number: int) -> None:
        """Take note of how many shards are not finished."""
        if self._export is not None:
            self._export({watched.SHARDS_LEFT: number})

    def close(self, videos: Sequence[VideoSummary]) -> None:
        """Show the last state. ``videos`` are all of them: a shard may be back before the board read of its videos."""
        self.hear(videos)
        self._line.close(self._text())

    def _tell(self, videos: Sequence[VideoSummary]) -> None:
        if self._export is None or not videos:
            return
        pairs = sum(max(0, video.num_frames - 1) for video in videos if not video.rejected)
        self._export(
            {
                watched.VIDEOS: len(videos),
                watched.REJECTED: sum(video.rejected for video in videos),
                watched.FRAMES: sum(video.num_frames for video in videos),
                watched.PAIRS: pairs if self._with_flow else 0,
            }
        )

    def _text(self) -> str:
        now = time.monotonic()
        elapsed_s = now - self._start
        rest = self._rest if len(self._heard) < self._num_videos else 0.0
        left = time_left(elapsed_s, self._weight, rest, now - self._news)
        return (
            f"{len(self._heard)}/{self._num_videos} videos, {left} left, {self._frames} frames, "
            f"{self._new_frames / elapsed_s:.1f} frames/s, {self._rejected} rejected, {duration(elapsed_s)} gone"
        )
