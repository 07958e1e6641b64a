"""Work that one task of the cluster does. Plain callables: nothing here knows Ray, so all of it runs in a unit test."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2

from preprocessing import storage
from preprocessing.errors import UserError, VideoError
from preprocessing.extract import OpenVideo, Spool, extract_video
from preprocessing.guard import Attempts, Limits, Watchdog, die_of
from preprocessing.plan import PlannedShard, PlannedVideo
from preprocessing.recipe import FrameRecipe
from preprocessing.shards import ShardSummary, VideoSummary, open_shard, read_footer, summarize
from preprocessing.video import VideoFrames

Report = Callable[[VideoSummary], None]


@dataclass(frozen=True, kw_only=True)
class BuildShard:
    """Turn one planned shard into one file, and return only a summary of it.

    A video that fails is reported in the summary and left out; the other videos of the shard are still written. A
    shard that exists is not made again unless one of its files was replaced. The same plan and recipe give the same
    bytes, wherever and however often.
    """

    output: str
    """Location of the shard set."""
    recipe: FrameRecipe
    """What is stored."""
    limits: Limits
    """How long one video may take."""
    run_id: str
    """Of the job; deaths of workers are counted within it."""
    retry_rejected: bool = False
    """Make shards again that left videos out."""
    open_video: OpenVideo = VideoFrames
    """Gives the frames of a video."""

    def __call__(self, shard: PlannedShard, report: Report = lambda _: None) -> ShardSummary:
        """Build ``shard`` and tell ``report`` of every video as it is done."""
        cv2.setNumThreads(1)  # the cores belong to the tasks; OpenCV would take them all in each
        uri = storage.join(self.output, shard.name)
        kept = self._kept(uri, shard)
        if kept is not None:
            for summary in kept.videos:
                report(summary)
            return kept
        attempts = Attempts(self.output, self.run_id)
        with open_shard(
            uri, self.recipe.modality, self.recipe.plain(), self.recipe.digest(), shard.files_digest()
        ) as writer:
            # who killed a worker before goes first: should it do so again, no other work is lost
            early = {v: self._video(v, attempts) for v in shard.videos if attempts.suspects(v.video_id)}
            summaries: list[VideoSummary] = []
            for video in shard.videos:
                summary, spool = early.pop(video) if video in early else self._video(video, attempts)
                if spool is not None:
                    summary = replace(summary, first_row_group=writer.num_row_groups)
                    for row in spool.rows():
                        writer.append(row)
                summaries.append(summary)
                report(summary)
            writer.describe(summaries)
        return summarize(uri)

    def _kept(self, uri: str, shard: PlannedShard) -> ShardSummary | None:
        if not storage.exists(uri):
            return None
        footer = read_footer(uri)
        if footer["kinebert.digest"] != self.recipe.digest():
            raise UserError(
                f"{uri}: made by recipe {footer['kinebert.digest']}, this job has {self.recipe.digest()}. Choose "
                "another output folder."
            )
        if footer["kinebert.files"] != shard.files_digest():
            return None
        summary = summarize(uri)
        if self.retry_rejected and any(video.rejected for video in summary.videos):
            return None
        return summary

    def _video(self, video: PlannedVideo, attempts: Attempts) -> tuple[VideoSummary, Spool | None]:
        problem = f"manifest: {video.problem}" if video.problem else attempts.given_up(video.video_id)
        if problem is None:
            try:
                with (
                    attempts.attempt(video.video_id),
                    Watchdog(self.limits, die_of(attempts, video.video_id)) as watchdog,
                ):
                    return extract_video(video, self.recipe, self.open_video, watchdog.beat)
            except VideoError as error:
                problem = f"{error.stage}: {error.problem}"
        return VideoSummary(video_id=video.video_id, problem=problem, rejected=True), None
