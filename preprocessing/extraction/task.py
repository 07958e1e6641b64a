"""Work that one task of the cluster does. Plain callables: nothing here knows Ray, so all of it runs in a unit test."""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import cv2

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError, VideoError
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.guard import Attempts, Limits, Watchdog, die_of
from kinebert.preprocessing.extraction.one_file import Outcome, extract_file, rejected
from kinebert.preprocessing.extraction.one_video import Frames, Spool
from kinebert.preprocessing.extraction.solvers import Solver
from kinebert.preprocessing.extraction.timing import OFF, NoTiming, Timing
from kinebert.preprocessing.fingerprints import file_fingerprint
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.digests import keep_record, kept_record
from kinebert.preprocessing.sets.plan import PlannedShard, PlannedVideo
from kinebert.preprocessing.sets.writer import (
    ShardSummary,
    ShardWriter,
    VideoSummary,
    open_shard,
    summarize,
)
from kinebert.preprocessing.video.frames import VideoFrames

_READINGS = 3
"""Times that a video is begun whose file changes while it is read."""
Report = Callable[[VideoSummary], None]


class Opens(Protocol):
    """Gives frames that are stored already."""

    def opener(self, video_id: str) -> Callable[..., Frames]:
        """Return what gives the frames of one video, called like :class:`.VideoFrames`."""


@dataclass(frozen=True, kw_only=True)
class BuildShard:
    """Turn one planned shard into one file, and return only a summary of it.

    A video that fails is reported in the summary and left out; the other videos of the shard are still written. A
    shard that exists is not made again unless one of its files was replaced, or its own bytes have changed. The same
    plan, recipe and solver give the same bytes, wherever and however often.
    """

    output: str
    """Location of the shard set."""
    recipe: FrameRecipe
    """What is stored."""
    limits: Limits
    """How long one video may take, and how large its pictures may be."""
    run_id: str
    """Of the job; deaths of workers are counted within it."""
    retry_rejected: bool = False
    """Make shards again that left videos out."""
    open_video: Callable[..., Frames] = VideoFrames
    """Gives the frames of a video: an :data:`OpenVideo` that also takes ``max_pixels``."""
    solver: Solver = field(default_factory=FlowSolver)
    """Who makes flow or poses; recorded in the shard, and no part of its recipe."""
    stored: Opens | None = None
    """Opens videos of a set in place of files, such as :class:`.StoredVideos`."""
    timed: bool = False
    """Measure how long the stages take."""

    def __call__(self, shard: PlannedShard, report: Report = lambda _: None) -> ShardSummary:
        """Build ``shard`` and tell ``report`` of every video as it is done."""
        return BuildShards((self,))(shard, report)[0]

    def kept(self, shard: PlannedShard) -> tuple[ShardSummary | None, bool]:
        """What a shard that is there holds, if it is to stay; and whether it is not what was written."""
        uri = storage.join(self.output, shard.name)
        found = storage.file_identity(uri)
        if found is None:
            return None, False
        record = kept_record(self.output, shard.name)
        if record is not None and not record.is_of(uri, found[0]):
            return None, True
        summary = summarize(uri) if record is None else record.summary(uri)
        if summary.recipe != self.recipe.digest():
            raise UserError(
                f"{uri}: made by recipe {summary.recipe}, this job has {self.recipe.digest()}. Choose another output "
                "folder."
            )
        if not shard.is_of(summary.files, summary.sources):
            return None, False
        again = self.retry_rejected and any(video.rejected for video in summary.videos)
        return None if again else summary, False

    def opener(self, video: PlannedVideo) -> Callable[..., Frames]:
        """Return what gives the frames of a video, or of the file that segments are cut from."""
        if self.stored is not None:
            return self.stored.opener(video.video_id)
        return partial(self.open_video, max_pixels=self.limits.max_pixels)

    @contextmanager
    def writing(
        self, shard: PlannedShard, solver: Solver, told: Callable[[ShardSummary], None]
    ) -> Iterator[ShardWriter]:
        """Write ``shard``, and tell ``told`` what it holds when it is about to appear."""
        solved_by = None if self.recipe.solving is None else solver.name()

        def written(summary: ShardSummary) -> None:
            made = replace(summary, sources=shard.sources_digest())
            keep_record(self.output, made)
            told(made)

        uri = storage.join(self.output, shard.name)
        with open_shard(uri, self.recipe, shard.files_digest(), solved_by, written) as writer:
            yield writer


@dataclass(frozen=True)
class BuildShards:
    """Make the same shard of several sets, with one decoding of each video for all of them.

    Each gets the bytes that its :class:`BuildShard` alone would make. A set that has its shard already keeps it.
    """

    builds: tuple[BuildShard, ...]
    """One for each set; their recipes take the same frames, and one of them may need a solver. What is no matter of a
    set, such as the limits, is that of the first."""

    def __call__(self, shard: PlannedShard, report: Report = lambda _: None) -> tuple[ShardSummary, ...]:
        """Build ``shard`` in each set, tell ``report`` of every video as it is done, and return a summary for each."""
        cv2.setNumThreads(1)  # the cores belong to the tasks; OpenCV would take them all in each
        found = [build.kept(shard) for build in self.builds]
        missing = [i for i, (kept, _) in enumerate(found) if kept is None]
        summaries = [kept for kept, _ in found]
        if missing:
            timing = Timing() if self.builds[0].timed else OFF
            made = self._make([self.builds[i] for i in missing], shard, report, timing)
            result = timing.result(f"{socket.gethostname()} {os.getpid()}") if isinstance(timing, Timing) else None
            replaced = _replaced(shard)
            for i, summary in zip(missing, made, strict=True):
                summaries[i] = replace(summary, was_damaged=found[i][1], replaced=replaced, timing=result)
        elif summaries[0] is not None:
            for video in summaries[0].videos:
                report(video)
        return tuple(summary for summary in summaries if summary is not None)

    def _make(
        self, builds: Sequence[BuildShard], shard: PlannedShard, report: Report, timing: NoTiming
    ) -> list[ShardSummary]:
        solver = self._ready(builds, timing)
        attempts = Attempts(self.builds[0].output, self.builds[0].run_id)
        made: dict[str, ShardSummary] = {}
        with ExitStack() as stack:
            writers = [
                stack.enter_context(build.writing(shard, solver, partial(made.__setitem__, build.output)))
                for build in builds
            ]
            extract = partial(self._file, [build.recipe for build in builds], attempts, solver, timing)
            described: list[list[VideoSummary]] = [[] for _ in builds]
            for outcomes in _in_order(shard, attempts, extract):
                for writer, videos, (summary, spool) in zip(writers, described, outcomes, strict=True):
                    videos.append(replace(summary, first_row_group=writer.num_row_groups) if spool else summary)
                    if spool is not None:
                        with timing.stage("write"):
                            _append(writer, spool)
                report(described[0][-1])
            for writer, videos in zip(writers, described, strict=True):
                writer.describe(videos)
        return [made[build.output] for build in builds]

    def _ready(self, builds: Sequence[BuildShard], timing: NoTiming) -> Solver:
        """Make the solver ready, before any video's time runs, if a set needs one."""
        for build in builds:
            if build.recipe.solving is not None:
                with timing.stage("prepare"):
                    return build.solver.ready(build.recipe.solving)
        return builds[0].solver

    def _file(
        self,
        recipes: Sequence[FrameRecipe],
        attempts: Attempts,
        solver: Solver,
        timing: NoTiming,
        videos: Sequence[PlannedVideo],
    ) -> dict[str, list[Outcome]]:
        """Extract what is to be taken from one file: a video, or segments of it."""
        first, name = self.builds[0], _name(videos)
        found: dict[str, list[Outcome]] = {}
        problem = attempts.given_up(name)
        usable = [video for video in videos if not video.problem and problem is None]
        if usable:
            try:
                with attempts.attempt(name), Watchdog(first.limits, die_of(attempts, name)) as watchdog:
                    open_video = first.opener(usable[0])
                    extract = partial(extract_file, usable, recipes, open_video, watchdog.beat, solver, timing)
                    found = _undisturbed(usable[0], extract)
            except VideoError as error:
                problem = f"{error.stage}: {error.problem}"
        for video in videos:
            said = f"manifest: {video.problem}" if video.problem else problem
            if video.video_id not in found:
                found[video.video_id] = [(rejected(video.video_id, said or ""), None)] * len(recipes)
        return found


def _in_order(
    shard: PlannedShard, attempts: Attempts, extract: Callable[[Sequence[PlannedVideo]], dict[str, list[Outcome]]]
) -> Iterator[list[Outcome]]:
    """Yield what becomes of each video, in the shard's order.

    Who killed a worker before goes first: should it do so again, no other work is lost.
    """
    files = {video.video_id: videos for videos in shard.by_file() for video in videos}
    done: dict[str, list[Outcome]] = {}
    for videos in shard.by_file():
        if attempts.suspects(_name(videos)):
            done |= extract(videos)
    for video in shard.videos:
        if video.video_id not in done:
            done |= extract(files[video.video_id])
        yield done.pop(video.video_id)


def _name(videos: Sequence[PlannedVideo]) -> str:
    """What deaths are counted for: a video's id, or the file that segments are cut from."""
    return videos[0].video_id if videos[0].interval is None and len(videos) == 1 else videos[0].path


def _replaced(shard: PlannedShard) -> tuple[str, ...]:
    """Videos whose files are not those that were indexed, by their sizes and, where known, fingerprints."""
    usable = [video for video in shard.videos if not video.problem]
    by_path = {video.path: video for video in usable}
    others = {path for path, video in by_path.items() if _is_another(video)}
    return tuple(video.video_id for video in usable if video.path in others)


def _is_another(video: PlannedVideo) -> bool:
    found = storage.file_identity(video.path)
    if found is None:
        return False
    if found[0] != video.num_bytes:
        return True
    if video.fingerprint is None or not storage.is_local(video.path):
        return False
    try:
        return file_fingerprint(video.path) != video.fingerprint
    except (OSError, UserError):  # what cannot be read was not extracted
        return False


def _undisturbed(video: PlannedVideo, extract: Callable[[], dict[str, list[Outcome]]]) -> dict[str, list[Outcome]]:
    """Extract from one state of a video's file: begin again where that was written to or replaced meanwhile.

    Raises:
        VideoError: Of ``extract``; or if that happened every time.
    """
    for _ in range(_READINGS):
        before, failed = storage.file_identity(video.path), None
        try:
            outcomes = extract()
        except VideoError as error:
            failed = error
        if storage.file_identity(video.path) == before:
            if failed is not None:
                raise failed
            return outcomes
    raise VideoError(video.video_id, "read", f"its file was written to or replaced in each of {_READINGS} readings")


def _append(writer: ShardWriter, spool: Spool) -> None:
    for row in spool.rows():
        writer.append(row)
