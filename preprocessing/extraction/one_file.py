"""One file, decoded once for all that is made of it: its segments, and the sets that store them, run side by side.

Axes: H height, W width.
"""

import queue
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import VideoError
from kinebert.preprocessing.extraction.guard import TimeIsUp
from kinebert.preprocessing.extraction.one_video import Frames, Spool, extract_frames, extract_video
from kinebert.preprocessing.extraction.prefetch import MOST_AHEAD, frames_ahead
from kinebert.preprocessing.extraction.solvers import Solver
from kinebert.preprocessing.extraction.timing import NoTiming
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.plan import PlannedVideo
from kinebert.preprocessing.sets.writer import VideoSummary
from kinebert.preprocessing.stores.answers import StoreAwayError
from kinebert.preprocessing.video.frame_choice import Cuts
from kinebert.preprocessing.video.intervals import Interval
from kinebert.preprocessing.video.still_frames import StillCounts

MOST_OPEN = 16
"""Segments that may overlap at a moment; a file with more of them is decoded again for the rest."""
_END: Any = object()
_OF_THE_VIDEO = (OSError, TimeIsUp, cv2.error, MemoryError, ValueError)
"""What goes wrong with a video while it is decoded; whoever reads its frames says it of the video."""

UInt8 = NDArray[np.uint8]
Extract = Callable[[str, "_Feed"], tuple[VideoSummary, Spool]]
Outcome = tuple[VideoSummary, Spool | None]
"""What became of a video, and its images unless it was left out."""


def extract_file(
    videos: Sequence[PlannedVideo],
    recipes: Sequence[FrameRecipe],
    open_video: Callable[..., Frames],
    beat: Callable[[], None],
    solver: Solver,
    timing: NoTiming,
) -> dict[str, list[Outcome]]:
    """Extract all videos that are to be taken from one file; return what became of each, for every recipe, by its id.

    Args:
        videos: The whole file as one video, or segments of it, which may overlap.
        recipes: What is stored, in a set each. They take the same frames of the file.
        open_video: Gives the frames; called like :class:`kinebert.preprocessing.video.frames.VideoFrames`.
        beat: Called for every image and every frame; may raise TimeIsUp.
        solver: Who makes flow or poses; ready for use.
        timing: Learns how long the stages take.

    Raises:
        VideoError: If the file is one video for one recipe, which has to be left out.
    """
    whole = len(videos) == 1 and videos[0].interval is None
    first, *others = recipes
    if whole and not others:
        return {videos[0].video_id: [extract_video(videos[0], first, open_video, beat, solver, timing)]}
    store = None if whole else _Store()
    beside = {"beside": [recipe.decoded for recipe in others]} if others else {}
    outcomes: dict[str, list[Outcome]] = {}

    def extract(recipe: FrameRecipe, video_id: str, feed: _Feed) -> tuple[VideoSummary, Spool]:
        return extract_frames(video_id, feed, recipe, beat, solver, timing, lambda: feed.about)

    for some in passes(videos, MOST_OPEN):
        cuts = Cuts([video.interval for video in some], first.frame_step, beat, first.drop_repeats)
        segments = [[_Segment(video, partial(extract, recipe), store) for recipe in recipes] for video in some]
        _decode(open_video(some[0].path, first.decoded, timing, choice=cuts, **beside), cuts, segments)
        for video, made in zip(some, segments, strict=True):
            found = [segment.outcome for segment in made if segment.outcome]
            assert len(found) == len(recipes), "what became of every video is known"
            outcomes[video.video_id] = found
    return outcomes


def rejected(video_id: str, problem: str) -> VideoSummary:
    """Return the summary of a video that is left out."""
    return VideoSummary(video_id=video_id, problem=problem, rejected=True)


def passes(videos: Sequence[PlannedVideo], most: int) -> list[list[PlannedVideo]]:
    """Divide videos of one file into passes of which none has more than ``most`` at any moment, as few as may be.

    Segments in seconds and those in frames are thought to overlap.
    """
    found: list[_Pass] = []
    for video in sorted(videos, key=lambda video: (_interval(video).unit, _interval(video).start)):
        into = next((other for other in found if other.num_open(video) < most), None)
        if into is None:
            found.append(into := _Pass())
        into.videos.append(video)
        into.open.append(_interval(video))
    return [each.videos for each in found]


class _Pass:
    """Videos that are taken from a file together."""

    def __init__(self) -> None:
        self.videos: list[PlannedVideo] = []
        self.open: list[Interval] = []

    def num_open(self, video: PlannedVideo) -> int:
        """How many have not ended when ``video``, which begins after all of them, does."""
        self.open = [interval for interval in self.open if not _is_over(interval, _interval(video))]
        return len(self.open)


def _interval(video: PlannedVideo) -> Interval:
    return video.interval or Interval(0, None, "frames")


def _is_over(first: Interval, second: Interval) -> bool:
    return first.unit == second.unit and first.end is not None and first.end <= second.start


class _Feed:
    """Frames of one segment, put in by the thread that decodes and iterated over by the one that encodes."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(maxsize=MOST_AHEAD)
        self._gone = threading.Event()
        self._error: Exception | None = None
        self.problem: str | None = None
        self.about = ("", "")
        """What is to be said of the segment if it has too few frames: where it lies, and how long its file is."""
        self.still: StillCounts | None = None
        """How many of its frames show no motion, when it has ended."""

    def __iter__(self) -> Iterator[UInt8]:
        while (frame_HW3 := self._queue.get()) is not _END:
            yield frame_HW3
        if self._error is not None:
            raise self._error

    def put(self, item: Any) -> None:
        """Add a frame; wait for room unless nobody wants more."""
        if item is not _END:
            self._queue.maxsize = frames_ahead(item)
        while not self._gone.is_set():
            with suppress(queue.Full):
                return self._queue.put(item, timeout=0.1)
        with suppress(queue.Full):  # who still waits for an item finds the queue empty
            self._queue.put_nowait(item)
        return None

    def end(self, problem: str | None = None, error: Exception | None = None) -> None:
        """Add no more frames, because of a ``problem`` of the file, or an ``error`` to raise where they are read."""
        self.problem, self._error = problem, error
        self.put(_END)

    def leave(self) -> None:
        """Want no more frames."""
        self._gone.set()


class _Segment:
    """One segment at work for one recipe, in a thread of its own."""

    def __init__(self, video: PlannedVideo, extract: Extract, store: "_Store | None") -> None:
        self.video, self.feed = video, _Feed()
        self.outcome: Outcome | None = None
        self.bug: Exception | None = None
        self._extract, self._store = extract, store
        self._thread = threading.Thread(target=self._run, name="segment", daemon=True)

    def start(self) -> None:
        """Begin; a second call does nothing."""
        if self._thread.ident is None:
            self._thread.start()

    def end(self, problem: str | None = None, error: Exception | None = None) -> None:
        """Give no more frames, and wait until those that were given are done."""
        self.start()
        self.feed.end(problem, error)
        self._thread.join()

    def _run(self) -> None:
        try:
            summary, spool = self._extract(self.video.video_id, self.feed)
            if self._store is not None:
                self._store.take(spool)
            self.outcome = summary, spool
        except VideoError as error:
            self.outcome = rejected(self.video.video_id, f"{error.stage}: {error.problem}"), None
        except Exception as error:  # raised again where the file is decoded
            self.bug = error
        finally:
            self.feed.leave()


class _Store:
    """Images of finished segments on this node's disk, in one file however many they are."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="kinebert-")  # noqa: SIM115 - spools read it later
        self._lock = threading.Lock()

    def take(self, spool: Spool) -> None:
        """Move what ``spool`` holds here."""
        with self._lock, storage.explained(tempfile.gettempdir(), "keep a video's images for a while (TMPDIR)"):
            spool.move_into(self._file)


def _decode(frames: Frames, cuts: Cuts, segments: Sequence[Sequence[_Segment]]) -> None:
    """Decode a file up to the end of its last segment, and leave every segment with its outcome for each recipe."""
    ended: set[int] = set()
    error: Exception | None = None
    try:
        for frame in frames:
            pictures = frame if isinstance(frame, tuple) else (frame,)
            for i in sorted(cuts.closed - ended):
                _end(segments[i], _about(segments[i][0].video, cuts, i), cuts.still(i))
                ended.add(i)
            for i in cuts.members:
                for segment, picture_HW3 in zip(segments[i], pictures, strict=True):
                    segment.start()
                    segment.feed.put(picture_HW3)
            if any(segment.bug for i in cuts.members for segment in segments[i]):
                break
        error = cuts.error
    except Exception as caught:
        error = caught
    whole = cuts.reached()
    for i, made in enumerate(segments):
        if i not in ended:
            about = _about(made[0].video, cuts, i)
            _end(made, about, cuts.still(i), None if i in whole else frames.problem, None if i in whole else error)
    bug = next((segment.bug for made in segments for segment in made if segment.bug), None)
    of_the_video = isinstance(error, _OF_THE_VIDEO) and not isinstance(error, StoreAwayError)
    bug = bug or (None if of_the_video else error)
    if bug is not None:
        raise bug


def _end(
    segments: Sequence[_Segment],
    about: tuple[str, str],
    still: StillCounts,
    problem: str | None = None,
    error: Exception | None = None,
) -> None:
    for segment in segments:
        segment.feed.about, segment.feed.still = about, still
        segment.end(problem, error)


def _about(video: PlannedVideo, cuts: Cuts, i: int) -> tuple[str, str]:
    """Where a segment lies, and how long its file is if its end was seen."""
    where = "" if video.interval is None else f" in {video.interval}"
    if video.interval is None or i in cuts.closed:
        return where, ""
    seconds = "" if cuts.length_s is None else f", {cuts.length_s:.2f} s"
    return where, f"; the video has {cuts.num_frames} frames{seconds}"
