"""Extraction as a Ray Data job: one task makes one shard, and only names and numbers travel.

Tasks are plain functions; where they hold a share of a GPU they are actors, whose solver stays warm.
"""

import logging
import math
import pickle
import queue
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from kinebert.orchestration import cluster as _cluster  # first: it says what Ray reads at its import

# isort: split
import ray
import ray.data

from kinebert.orchestration.audience import NOBODY, Audience, Line
from kinebert.orchestration.jobs.placement import Placement, place
from kinebert.orchestration.progress import duration, time_left
from kinebert.orchestration.silent_workers import Watch, give_signs, watched
from kinebert.preprocessing import storage
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.extraction.guard import sweep
from kinebert.preprocessing.extraction.task import BuildShard
from kinebert.preprocessing.folder_lock import EXTRACTION, held
from kinebert.preprocessing.recipe import FlowRecipe
from kinebert.preprocessing.sets.dataset_file import DATASET_FILE, ShardFacts, read_dataset_file
from kinebert.preprocessing.sets.digests import changed_shards, keep_facts
from kinebert.preprocessing.sets.folder import claim_output, finish_set, is_finished
from kinebert.preprocessing.sets.plan import PlannedShard, estimated_frames, plan_shards
from kinebert.preprocessing.sets.writer import ShardSummary, VideoSummary

_POLL_S = 0.5


@dataclass(frozen=True)
class ExtractionResult:
    """What a job did."""

    dataset: dict[str, Any]
    """Content of ``dataset.json``."""
    new_videos: int
    """Videos of this run; 0 if there was nothing to do."""
    seconds: float
    shards: tuple[ShardSummary, ...] = ()
    """Every shard of the set; empty if there was nothing to do."""


def extract_set(
    rows: Sequence[ManifestRow],
    output: str,
    build: BuildShard,
    *,
    videos_per_shard: int | None = None,
    workers: int | None = None,
    cpus_per_task: float = 1.0,
    gpus_per_task: float | None = None,
    audience: Audience = NOBODY,
) -> ExtractionResult:
    """Bring the shard set ``output`` to completion; what is there already is kept.

    Args:
        rows: The manifest.
        output: Location of the set.
        build: What one task does. Its solver is settled here, by what the cluster has: see :func:`place`.
        videos_per_shard: On average; by default shards are planned by work, see :func:`.plan_shards`.
        workers: Most tasks at a time; by default as many as the cluster has CPUs for.
        cpus_per_task: Logical CPUs that a task holds.
        gpus_per_task: Share of a GPU that a task holds; by default decided by what the cluster has.
        audience: Told who solves the flow, once that is known, and how far the videos are.

    Raises:
        UserError: If the folder belongs to another recipe or list, or cannot be written, or the cluster lacks what a
            task asks for.
    """
    start = time.monotonic()
    storage.check_writable(output)
    with held(output, EXTRACTION):
        shards = claim_output(output, build.recipe, plan_shards(rows, videos_per_shard))
        if is_finished(output, rows, shards) and not build.retry_rejected:
            dataset = read_dataset_file(output)
            assert dataset is not None
            if _is_as_written(output, dataset.shards, audience):
                return ExtractionResult(dataset.plain(), 0, time.monotonic() - start)
        sweep(output)
        if (before := read_dataset_file(output)) is not None:
            keep_facts(output, before.shards)
        storage.delete_file(storage.join(output, DATASET_FILE))  # whoever kills this leaves a set that is not finished
        there = set(storage.list_files(output))
        kept = {video.video_id for shard in shards if shard.name in there for video in shard.videos}
        build = replace(build, run_id=uuid.uuid4().hex)
        try:
            with _cluster.cluster(math.ceil(workers * cpus_per_task) if workers else None):
                placement = _place(build, cpus_per_task, gpus_per_task, workers)
                if isinstance(build.recipe, FlowRecipe):
                    audience.say(placement.about)
                build = replace(build, solver=placement.solver)
                progress = _Progress(rows, kept, audience.line())
                with watched(audience.warn) as watch:
                    pool = _pool(placement, len(shards), cpus_per_task, workers)
                    summaries = _run(shards, build, pool, progress, watch)
            _check_shared(output, shards)
            if damaged := [shard.name for shard in summaries if shard.was_damaged]:
                some = f"{damaged[0]}{' and others' * (len(damaged) > 1)}"
                audience.warn(f"{some}: not the bytes that had been written ({len(damaged)} in all); made again")
            if others := [video_id for shard in summaries for video_id in shard.replaced]:
                some = f"{others[0]}{' and others' * (len(others) > 1)}"
                audience.warn(
                    f"{some}: not the files that were indexed ({len(others)} in all). They were extracted as they are "
                    "now; run kinebert index again, that the manifest says so"
                )
            dataset = finish_set(output, build.recipe, rows, summaries)
        finally:
            with suppress(OSError):  # a store that fails here has failed before, and said why
                sweep(output)
    return ExtractionResult(dataset.plain(), len(rows), time.monotonic() - start, tuple(summaries))


def _is_as_written(output: str, shards: Sequence[ShardFacts], audience: Audience) -> bool:
    """Whether a finished set's shards hold what was written, as far as that is looked at, which is said."""
    if not storage.is_local(output):
        audience.say(f"the sizes of {len(shards)} shards are right; kinebert verify {output} reads their bytes")
        return True
    line = audience.line()
    changed = changed_shards(
        output, shards, lambda done: line.show(lambda: f"checking what is there: {done}/{len(shards)} shards")
    )
    line.close(f"{len(shards) - len(changed)} of {len(shards)} shards hold the bytes that were written")
    return not changed


def _place(build: BuildShard, cpus: float, gpus: float | None, workers: int | None) -> Placement:
    """Decide where tasks run; refuse what Ray would wait for, without a word and for ever."""
    if not isinstance(build.recipe, FlowRecipe):
        gpus = 0.0
    return place(build.solver, _cluster.nodes(), cpus_per_task=cpus, gpus_per_task=gpus, workers=workers)


def _pool(placement: Placement, num_shards: int, cpus: float, workers: int | None) -> dict[str, Any]:
    """Options of Ray Data's ``map``."""
    if not placement.gpus_per_task:
        return {"num_cpus": cpus, **({"concurrency": workers} if workers is not None else {})}
    most = min(placement.num_actors, num_shards)
    pool = ray.data.ActorPoolStrategy(
        min_size=1,  # on a busy cluster some come later
        max_size=most,
        initial_size=most,
        max_tasks_in_flight_per_actor=1,  # a shard that waits for one actor could not be taken by another
    )
    return {"num_cpus": cpus, "num_gpus": placement.gpus_per_task, "compute": pool}


def _check_shared(output: str, shards: Sequence[PlannedShard]) -> None:
    """Make sure that what the nodes wrote can be seen from here."""
    missing = sorted({shard.name for shard in shards} - set(storage.list_files(output)))
    if missing:
        raise UserError(
            f"{output}: {len(missing)} of {len(shards)} shards were written but cannot be seen from here, such as "
            f"{missing[0]}. The nodes do not share this folder: choose one that they do, or a URI (s3://, gs://)."
        )


class _Board:
    """An actor that hears of every video. It holds no CPU, so that it never stands in a task's way."""

    def __init__(self) -> None:
        self._videos: dict[str, VideoSummary] = {}
        self._seen = 0

    def add(self, video: VideoSummary) -> None:
        self._videos[video.video_id] = video  # a task that starts again reports its videos again

    def news(self) -> list[VideoSummary]:
        """Videos that came since the last call."""
        videos = list(self._videos.values())[self._seen :]
        self._seen = len(self._videos)
        return videos


class _Builder:
    """What a task runs, and what an actor is made of."""

    def __init__(self, build: BuildShard, board: Any, roll: Any) -> None:
        self._build, self._board, self._roll = build, board, roll

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        give_signs(self._roll)
        shard = pickle.loads(row["shard"])
        try:
            return {"outcome": pickle.dumps(self._build(shard, report=lambda video: self._board.add.remote(video)))}
        except UserError as error:  # Ray would wrap it beyond recognition
            return {"outcome": pickle.dumps(error)}


def _run(
    shards: Sequence[PlannedShard], build: BuildShard, pool: Mapping[str, Any], progress: "_Progress", watch: Watch
) -> list[ShardSummary]:
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # ours knows videos and frames; Ray's knows blocks
    context.execution_options.preserve_order = False
    context.execution_no_progress_timeout_s = -1  # one long video may well take more than Ray's half hour
    board: Any = ray.remote(num_cpus=0)(_Board).options(**_cluster.beside_us()).remote()

    roll, asked = watch.roll, [board.news.remote()]

    def look() -> None:
        watch.check()
        if ray.wait(asked, timeout=0)[0]:  # the board may be silent, too: then nothing is told of the progress
            progress.hear(ray.get(asked.pop()))
            asked.append(board.news.remote())

    def task(row: Mapping[str, Any]) -> dict[str, Any]:
        return _Builder(build, board, roll)(row)

    items = [{"shard": pickle.dumps(shard)} for shard in shards]
    rows: Any = ray.data.from_items(items, override_num_blocks=len(items))
    if "compute" in pool:
        dataset = rows.map(_Builder, fn_constructor_args=(build, board, roll), **pool)
    else:
        dataset = rows.map(task, **pool)
    summaries = []
    try:
        for row in _while_watching(iter(dataset.iter_rows()), look):
            outcome = pickle.loads(row["outcome"])
            if isinstance(outcome, UserError):
                raise outcome
            summaries.append(outcome)
    except BaseException:
        _stop()
        raise
    progress.close([video for shard in summaries for video in shard.videos])
    return summaries


def _while_watching(rows: Iterator[Any], watch: Callable[[], None]) -> Iterator[Any]:
    """Yield ``rows`` and call ``watch`` twice a second while they let us wait. Leaving early does not wait for them."""
    end, ready = object(), queue.SimpleQueue[tuple[Any, BaseException | None]]()

    def fetch() -> None:
        try:
            for row in rows:
                ready.put((row, None))
            ready.put((end, None))
        except BaseException as error:  # raised again where the rows are read
            ready.put((end, error))

    threading.Thread(target=fetch, name="rows", daemon=True).start()
    watched = time.monotonic()
    while True:
        if time.monotonic() - watched >= _POLL_S:
            watch()
            watched = time.monotonic()
        try:
            row, error = ready.get(timeout=_POLL_S)
        except queue.Empty:
            continue
        if error is not None:
            raise error
        if row is end:
            return
        yield row


def _stop() -> None:
    """End Ray Data's thread, and with it the tasks that still run.

    Left alone it would go on asking a cluster that is shut down meanwhile, and crash this process.
    """
    for thread in threading.enumerate():
        if type(thread).__name__ == "StreamingExecutor":
            with suppress(Exception):  # what we are here for is another error
                thread.shutdown(force=True)  # type: ignore[attr-defined]


class _Progress:
    """Turns reports of videos into the progress line. Speed and time left are of the videos that are not ``kept``."""

    def __init__(self, rows: Sequence[ManifestRow], kept: Collection[str], line: Line) -> None:
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
        for video in videos:
            if video.video_id in self._heard:
                continue
            self._heard.add(video.video_id)
            self._frames += video.num_frames
            self._rejected += video.rejected
            if video.video_id in self._weights:
                estimate = self._weights[video.video_id]
                self._new_frames += video.num_frames
                self._rest -= estimate
                self._weight += min(estimate, max(1.0, video.num_frames))  # a header may promise the moon
                self._news = time.monotonic()
        self._line.show(self._text)

    def close(self, videos: Sequence[VideoSummary]) -> None:
        """Show the last state. ``videos`` are all of them: a shard may be back before the board read of its videos."""
        self.hear(videos)
        self._line.close(self._text())

    def _text(self) -> str:
        now = time.monotonic()
        elapsed_s = now - self._start
        rest = self._rest if len(self._heard) < self._num_videos else 0.0
        left = time_left(elapsed_s, self._weight, rest, now - self._news)
        return (
            f"{len(self._heard)}/{self._num_videos} videos, {self._frames} frames, {self._new_frames / elapsed_s:.1f} "
            f"frames/s, {self._rejected} rejected, {duration(elapsed_s)} gone, {left} left"
        )
