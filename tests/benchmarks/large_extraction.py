"""What a job over 650,000 videos costs the driver: planning, bookkeeping, resuming, memory; tasks only sleep.

    python -m tests.benchmarks.large_extraction [--videos N] [--tasks N] [--sleep-ms MS]

All but the tasks is the real code: the manifest, the plan, the claim, Ray Data's job with its progress, the index, and
the look at a finished set. Each step runs in the same process, the driver. Goals: planning below 30 s, the driver below
2 GB, 1,000 shards/s of bookkeeping. Ray itself starts some hundred tasks a second on two cores, so that the job is
measured for ``--tasks`` of the shards.
"""

import argparse
import hashlib
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kinebert.orchestration import cluster as _cluster
from kinebert.orchestration.audience import NOBODY
from kinebert.orchestration.extraction.shard_tasks import _run
from kinebert.orchestration.progress import VideoProgress
from kinebert.orchestration.shared_folders import Shared
from kinebert.orchestration.silent_workers import watched
from kinebert.preprocessing.datasets.manifest import ManifestRow, read_manifest, write_manifest
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.folder import claim_output, finish_set, is_finished
from kinebert.preprocessing.sets.plan import PlannedShard, plan_shards
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.sets.writer import ShardSummary, VideoSummary
from tests.helpers.measuring import print_table, processor

CLASSES, FRAMES, ROW_GROUPS, ROW_GROUP_BYTES = 700, 300, 10, 730_000
PLANNING_S, DRIVER_GB, SHARDS_PER_S = 30.0, 2.0, 1000.0


def manifest_rows(number: int) -> list[ManifestRow]:
    """Videos of ten seconds, as those of Kinetics-700."""
    return [
        ManifestRow(
            video_id=f"{i * CLASSES // number:03d}/{i:07d}_{i % 97:06d}_000010",
            path=f"/videos/{i * CLASSES // number:03d}/{i:07d}_{i % 97:06d}_000010.mp4",
            label=i * CLASSES // number,
            label_name=f"playing instrument number {i * CLASSES // number:03d}",
            group=f"{i:07d}",
            splits={"split1": "val" if i % 10 == 9 else "train"},
            width=340,
            height=256,
            fps=29.97,
            duration_s=10.0 + i % 7 / 10,
            codec="h264",
            bytes=700_000 + i * 7919 % 600_000,
            fingerprint=f"{i:064x}",
        )
        for i in range(number)
    ]


def write_rows(manifest: str, number: int) -> None:
    """Write the manifest."""
    write_manifest(manifest, manifest_rows(number))


def summary_of(shard: PlannedShard) -> ShardSummary:
    """What a task says of a shard that it has made."""
    videos = tuple(
        VideoSummary(
            video_id=video.video_id,
            first_row_group=i * ROW_GROUPS,
            num_row_groups=ROW_GROUPS,
            num_frames=FRAMES,
            num_images=FRAMES,
            width=340,
            height=256,
        )
        for i, video in enumerate(shard.videos)
    )
    groups = len(videos) * ROW_GROUPS + 1
    return ShardSummary(
        name=shard.name,
        num_bytes=groups * ROW_GROUP_BYTES,
        sha256=hashlib.sha256(shard.name.encode()).hexdigest(),
        files=shard.files_digest(),
        videos=videos,
        sources=shard.sources_digest(),
        row_group_bounds=tuple(i * ROW_GROUP_BYTES for i in range(groups)),
    )


@dataclass(frozen=True)
class Sleeps:
    """In the place of what makes a shard."""

    seconds: float

    def __call__(self, shard: PlannedShard, report: Callable[[VideoSummary], None]) -> tuple[ShardSummary, ...]:
        """Do nothing for a while, and report the videos one after the other."""
        time.sleep(self.seconds)
        made = summary_of(shard)
        for video in made.videos:
            report(video)
        return (made,)


class Steps:
    """Times steps of the driver, and looks at its memory after each."""

    def __init__(self) -> None:
        self.shards = 0
        self.rows: list[list[str]] = []
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, work: Callable[..., Any], *args: Any) -> Any:
        """Do a step, and return what it returns."""
        began = time.perf_counter()
        found = work(*args)
        self.seconds[name] = seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        self.rows.append([name, f"{seconds:.1f}", f"{self.shards / max(seconds, 1e-3):,.0f}", f"{peak:.2f}"])
        print("  ".join(self.rows[-1]), flush=True)
        return found


def job(shards: Sequence[PlannedShard], rows: Sequence[ManifestRow], sleep_s: float) -> None:
    """Let Ray Data run a task for each shard, on a private cluster of this machine."""
    kept = {row.video_id for row in rows} - {video.video_id for shard in shards for video in shard.videos}
    build: Any = Sleeps(sleep_s)
    with watched(NOBODY.warn) as watch:
        made = _run(shards, build, Shared(), {"num_cpus": 1}, VideoProgress(rows, kept, NOBODY.line()), watch)
    assert {summary.name for (summary,) in made} == {shard.name for shard in shards}


def pretend_files(folder: Path, summaries: Sequence[ShardSummary]) -> None:
    """Put files of the right sizes where shards would be, without their bytes."""
    for summary in summaries:
        with (folder / summary.name).open("wb") as file:
            file.truncate(summary.num_bytes)


def main() -> None:
    """Print the table, and what became of the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=650_000)
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--sleep-ms", type=float, default=1)
    asked = parser.parse_args()
    print(f"{processor()}, load {os.getloadavg()[0]:.1f}", flush=True)
    recipe = FrameRecipe()
    with tempfile.TemporaryDirectory(prefix="kb-bench-") as name:
        folder, manifest = Path(name) / "set", f"{name}/manifest.parquet"
        folder.mkdir()
        with ProcessPoolExecutor(1) as other:  # its memory is not the driver's
            other.submit(write_rows, manifest, asked.videos).result()
        step = Steps()
        rows = step("the manifest is read", read_manifest, manifest)
        planned = step("shards are planned", plan_shards, rows)
        step.shards = len(planned)
        step("the folder is claimed", claim_output, str(folder), recipe, planned)
        progress = step("progress is begun", VideoProgress, rows, set(), NOBODY.line())
        summaries = [summary_of(shard) for shard in planned]
        step("progress hears of all", lambda: [progress.hear(summary.videos) for summary in summaries])
        pretend_files(folder, summaries)
        step("the index is written", finish_set, str(folder), recipe, rows, summaries)
        again = step("begun again: whose is it", claim_output, str(folder), recipe, planned)
        assert step("begun again: is it finished", is_finished, str(folder), rows, again)
        assert len(step("the set is opened", ShardSet.open, str(folder)).videos) == asked.videos
        some = planned[: asked.tasks]
        step.shards = len(some)
        with _cluster.cluster():
            step(f"Ray Data runs {len(some)} tasks", job, some, [replace(row) for row in rows], asked.sleep_ms / 1e3)
    print_table(
        f"{asked.videos:,} videos in {len(planned):,} shards", ["step", "s", "shards/s", "driver GB"], step.rows, 1
    )
    spent = step.seconds
    planning = spent["the manifest is read"] + spent["shards are planned"] + spent["the folder is claimed"]
    books = spent["progress hears of all"] + spent["the index is written"]
    peak = float(step.rows[-1][-1])
    for what, found, goal, met in (
        ("planning, s", planning, PLANNING_S, planning <= PLANNING_S),
        ("driver, GB", peak, DRIVER_GB, peak <= DRIVER_GB),
        ("bookkeeping, shards/s", len(planned) / books, SHARDS_PER_S, len(planned) / books >= SHARDS_PER_S),
    ):
        print(f"{what}: {found:,.1f}; the goal is {goal:,.0f}: {'met' if met else 'missed'}")


if __name__ == "__main__":
    main()
