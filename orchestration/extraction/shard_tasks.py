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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any

from kinebert.orchestration import cluster as _cluster  # first: it says what Ray reads at its import

# isort: split
import ray
import ray.data

from kinebert.orchestration.audience import NOBODY, Audience
from kinebert.orchestration.extraction.board import Board
from kinebert.orchestration.extraction.flow_forecast import say_who_solves
from kinebert.orchestration.extraction.placement import Placement, Tasks, place
from kinebert.orchestration.progress import VideoProgress
from kinebert.orchestration.shared_folders import Shared
from kinebert.orchestration.silent_workers import Watch, give_signs, watched
from kinebert.orchestration.watched_metrics import Exporter
from kinebert.preprocessing import storage
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.extraction.guard import sweep, swept
from kinebert.preprocessing.extraction.task import BuildShard, BuildShards
from kinebert.preprocessing.folder_lock import EXTRACTION, held
from kinebert.preprocessing.recipe import FlowRecipe
from kinebert.preprocessing.sets.dataset_file import DATASET_FILE, DatasetFile, ShardFacts, read_dataset_file
from kinebert.preprocessing.sets.digests import changed_shards, keep_facts
from kinebert.preprocessing.sets.folder import claim_output, finish_set, is_finished
from kinebert.preprocessing.sets.plan import PlannedShard, plan_shards
from kinebert.preprocessing.sets.writer import ShardSummary

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
    """Bring the shard set ``output`` to completion; what is there already is kept. See :func:`extract_sets`."""
    tasks = Tasks(workers=workers, cpus_per_task=cpus_per_task, gpus_per_task=gpus_per_task)
    return extract_sets(rows, [replace(build, output=output)], tasks, videos_per_shard, audience)[0]


def extract_sets(
    rows: Sequence[ManifestRow],
    builds: Sequence[BuildShard],
    tasks: Tasks,
    videos_per_shard: int | None = None,
    audience: Audience = NOBODY,
) -> list[ExtractionResult]:
    """Bring shard sets of one manifest to completion, with one decoding of each video; what is there already is kept.

    Args:
        rows: The manifest.
        builds: What one task does for each set. Solvers are settled here, by what the cluster has: see :func:`place`.
        tasks: How many there may be, and what they hold.
        videos_per_shard: On average; by default shards are planned by work, see :func:`.plan_shards`.
        audience: Told who solves the flow, once that is known, and how far the videos are.

    Raises:
        UserError: If a folder belongs to another recipe or list, or cannot be written, or the cluster lacks what a
            task asks for.
    """
    start = time.monotonic()
    for build in builds:
        storage.check_writable(build.output)
    with ExitStack() as locks:
        for build in builds:
            locks.enter_context(held(build.output, EXTRACTION))
        planned = plan_shards(rows, videos_per_shard)
        results: dict[str, ExtractionResult] = {}
        passes: list[tuple[list[PlannedShard], list[BuildShard]]] = []
        for build in builds:
            shards = claim_output(build.output, build.recipe, planned)
            if (dataset := _finished(rows, build, shards, audience)) is not None:
                results[build.output] = ExtractionResult(dataset.plain(), 0, time.monotonic() - start)
                continue
            together = next((some for plan, some in passes if plan == shards), None)
            if together is None:
                passes.append((shards, together := []))
            together.append(build)
        if len(passes) > 1:
            audience.say("one set was begun with other shards: the videos are decoded for each set")
        for shards, some in passes:
            made = _fill(rows, shards, some, tasks, audience)
            for build, summaries in zip(some, made, strict=True):
                dataset = finish_set(build.output, build.recipe, rows, summaries)
                seconds = time.monotonic() - start
                results[build.output] = ExtractionResult(dataset.plain(), len(rows), seconds, tuple(summaries))
    return [results[build.output] for build in builds]


def _finished(
    rows: Sequence[ManifestRow], build: BuildShard, shards: Sequence[PlannedShard], audience: Audience
) -> DatasetFile | None:
    """What a finished set says; None if there is something to do."""
    if not is_finished(build.output, rows, shards) or build.retry_rejected:
        return None
    dataset = read_dataset_file(build.output)
    assert dataset is not None
    return dataset if _is_as_written(build.output, dataset.shards, audience) else None


def _fill(
    rows: Sequence[ManifestRow],
    shards: Sequence[PlannedShard],
    builds: Sequence[BuildShard],
    tasks: Tasks,
    audience: Audience,
) -> list[list[ShardSummary]]:
    """Make the shards of sets that share a plan, and return what they hold, for each set."""
    for build in builds:
        _reopen(build.output)
    there = set[str].intersection(*(set(storage.list_files(build.output)) for build in builds))
    kept = {video.video_id for shard in shards if shard.name in there for video in shard.videos}
    run_id = uuid.uuid4().hex
    with swept([build.output for build in builds]):
        with _cluster.cluster(math.ceil(tasks.workers * tasks.cpus_per_task) if tasks.workers else None):
            placement = _place(builds, tasks)
            say_who_solves(rows, shards, kept, builds, placement, tasks, audience)
            settled = [replace(build, run_id=run_id, solver=placement.solver) for build in builds]
            has_flow = any(isinstance(build.recipe, FlowRecipe) for build in builds)
            with Exporter(builds[0].output) as export, watched(audience.warn) as watch:
                progress = VideoProgress(rows, kept, audience.line(), export, has_flow)
                pool = _pool(placement, len(shards), tasks)
                shared = Shared.seen_here([build.output for build in builds], videos=shards)
                made = _run(shards, BuildShards(tuple(settled)), shared, pool, progress, watch)
        of_sets = [[summaries[i] for summaries in made] for i in range(len(builds))]
        for build, summaries in zip(builds, of_sets, strict=True):
            _check_shared(build.output, shards)
            _tell(build.output if len(builds) > 1 else "", summaries, audience)
        return of_sets


def _reopen(output: str) -> None:
    """Make a set one that is being made: whoever kills this leaves one that is not finished."""
    sweep(output)
    if (before := read_dataset_file(output)) is not None:
        keep_facts(output, before.shards)
    storage.delete_file(storage.join(output, DATASET_FILE))


def _tell(output: str, summaries: Sequence[ShardSummary], audience: Audience) -> None:
    """Say what was not as it had been."""
    where = f"{output}: " if output else ""
    if damaged := [shard.name for shard in summaries if shard.was_damaged]:
        some = f"{damaged[0]}{' and others' * (len(damaged) > 1)}"
        audience.warn(f"{where}{some}: not the bytes that had been written ({len(damaged)} in all); made again")
    if others := [video_id for shard in summaries for video_id in shard.replaced]:
        some = f"{others[0]}{' and others' * (len(others) > 1)}"
        audience.warn(
            f"{where}{some}: not the files that were indexed ({len(others)} in all). They were extracted as they are "
            "now; run kinebert index again, that the manifest says so"
        )


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


def _place(builds: Sequence[BuildShard], tasks: Tasks) -> Placement:
    """Decide where tasks run; refuse what Ray would wait for, without a word and for ever."""
    solving = next((build for build in builds if build.recipe.solving is not None), None)
    return place(
        (solving or builds[0]).solver,
        _cluster.nodes(),
        cpus_per_task=tasks.cpus_per_task,
        gpus_per_task=tasks.gpus_per_task if solving else 0.0,
        workers=tasks.workers,
    )


def _pool(placement: Placement, num_shards: int, tasks: Tasks) -> dict[str, Any]:
    """Options of Ray Data's ``map``."""
    cpus = tasks.cpus_per_task
    if not placement.gpus_per_task:
        return {"num_cpus": cpus, **({"concurrency": tasks.workers} if tasks.workers is not None else {})}
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


class _Builder:
    """What a task runs, and what an actor is made of."""

    def __init__(self, build: BuildShards, shared: Shared, board: Any, roll: Any) -> None:
        self._build, self._shared, self._board, self._roll = build, shared, board, roll

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        give_signs(self._roll)
        shard = pickle.loads(row["shard"])
        try:
            self._shared.check()
            return {"outcome": pickle.dumps(self._build(shard, report=lambda video: self._board.add.remote(video)))}
        except UserError as error:  # Ray would wrap it beyond recognition
            return {"outcome": pickle.dumps(error)}


def _run(
    shards: Sequence[PlannedShard],
    build: BuildShards,
    shared: Shared,
    pool: Mapping[str, Any],
    progress: VideoProgress,
    watch: Watch,
) -> list[tuple[ShardSummary, ...]]:
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # ours knows videos and frames; Ray's knows blocks
    context.execution_options.preserve_order = False
    context.execution_no_progress_timeout_s = -1  # one long video may well take more than Ray's half hour
    board: Any = ray.remote(num_cpus=0)(Board).options(**_cluster.beside_us()).remote()

    roll, asked = watch.roll, [board.news.remote()]

    def look() -> None:
        watch.check()
        if ray.wait(asked, timeout=0)[0]:  # the board may be silent, too: then nothing is told of the progress
            progress.hear(ray.get(asked.pop()))
            asked.append(board.news.remote())

    def task(row: Mapping[str, Any]) -> dict[str, Any]:
        return _Builder(build, shared, board, roll)(row)

    items = [{"shard": pickle.dumps(shard)} for shard in shards]
    rows: Any = ray.data.from_items(items, override_num_blocks=len(items))
    made_of = {"fn_constructor_args": (build, shared, board, roll)}
    dataset = rows.map(_Builder, **made_of, **pool) if "compute" in pool else rows.map(task, **pool)
    summaries = []
    progress.shards_left(len(shards))
    try:
        for row in _while_watching(iter(dataset.iter_rows()), look):
            outcome = pickle.loads(row["outcome"])
            if isinstance(outcome, UserError):
                raise outcome
            summaries.append(outcome)
            progress.shards_left(len(shards) - len(summaries))
    except BaseException:
        _stop()
        raise
    progress.close([video for first, *_ in summaries for video in first.videos])
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
