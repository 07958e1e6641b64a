"""Extraction end to end: frames and flow of real clips, where the time goes, what Ray adds, and how it compares.

python -m tests.benchmarks.extraction [--videos N] [--sample N] [--workers N] [--backend B] [--preset P]

The clips are those of UT-Interaction; without them there is nothing to run. Everything takes about 10 minutes on two
cores, half of it OpenCV's solver on the sample.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from kinebert.orchestration.cluster import cluster
from kinebert.orchestration.extraction.shard_tasks import extract_set
from kinebert.pipelines import index_videos
from kinebert.preprocessing.datasets.manifest import ManifestRow, read_manifest
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.guard import Limits
from kinebert.preprocessing.extraction.task import BuildShard
from kinebert.preprocessing.extraction.timing import StageTime, TaskTiming
from kinebert.preprocessing.machine import available_cores
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.sets.dataset_file import FlowFacts
from kinebert.preprocessing.sets.folder import describe_flow
from kinebert.preprocessing.tvl1 import PRESETS, Backend
from tests.helpers.paths import SHARED

LIST = SHARED / "data" / "ut-interaction" / "labels.csv"
STAGES = ("prepare", "decode", "resize", "grey", "solve", "quantise", "encode", "write")
MOST_RAY = 0.05


@dataclass(frozen=True)
class Job:
    """One extraction and what was measured of it."""

    name: str
    workers: int
    seconds: float
    """From the call to the finished set; the cluster ran before."""
    start: float
    frames: int
    images: int
    tasks: tuple[TaskTiming, ...]

    def stages(self) -> dict[str, StageTime]:
        """Sums over the tasks."""
        cpu_s: dict[str, float] = defaultdict(float)
        wall_s: dict[str, float] = defaultdict(float)
        for task in self.tasks:
            for name, spent in task.stages.items():
                cpu_s[name] += spent.cpu_s
                wall_s[name] += spent.wall_s
        return {name: StageTime(cpu_s[name], wall_s[name]) for name in STAGES if name in wall_s}

    def idle(self) -> dict[str, float]:
        """Seconds in which a place for a task had none, over all places, by why."""
        places: list[list[TaskTiming]] = [[] for _ in range(self.workers)]
        for task in sorted(self.tasks, key=lambda task: task.start):
            min(places, key=lambda place: place[-1].end if place else self.start).append(task)
        used = [place for place in places if place]
        last = max(place[-1].end for place in used)
        begin = sum(place[0].start - self.start for place in used)
        between = sum(max(0.0, b.start - a.end) for place in used for a, b in pairwise(place))
        tail = sum(last - place[-1].end for place in used) + (self.workers - len(used)) * (last - self.start)
        end = self.workers * (self.start + self.seconds - last)
        return {"before the first": begin, "between tasks": between, "after the last": end, "waiting for others": tail}


def run(name: str, rows: Sequence[ManifestRow], build: BuildShard, workers: int, videos_per_shard: int) -> Job:
    """Run one extraction into a new folder."""
    start, clock = time.time(), time.perf_counter()
    result = extract_set(rows, build.output, build, videos_per_shard=videos_per_shard, workers=workers)
    seconds = time.perf_counter() - clock
    counts = result.dataset["counts"]
    facts = result.dataset.get("flow")
    if (flow := describe_flow(FlowFacts(**facts) if facts else None)) is not None:
        print(f"{name}: {flow}", flush=True)
    tasks = tuple(shard.timing for shard in result.shards if shard.timing is not None)
    return Job(name, workers, seconds, start, counts["frames"], counts["images"], tasks)


def table(jobs: Sequence[Job]) -> None:
    """Print time and stages of every job."""
    print(f"\n{'':>28}" + "".join(f"{job.name:>24}" for job in jobs))
    for about, value in (
        ("frames", lambda job: f"{job.frames}"),
        ("images stored", lambda job: f"{job.images}"),
        ("job, s", lambda job: f"{job.seconds:.1f}"),
        ("frames per second", lambda job: f"{job.frames / job.seconds:.1f}"),
    ):
        print(f"{about:>28}" + "".join(f"{value(job):>24}" for job in jobs))
    print("\nms per frame of processor time (share of all stages):")
    for stage in STAGES:
        line = f"{stage:>28}"
        for job in jobs:
            stages = job.stages()
            total_s = sum(spent.cpu_s for spent in stages.values())
            cpu_s = stages.get(stage, StageTime()).cpu_s
            line += f"{1e3 * cpu_s / job.frames:>15.3f} ({cpu_s / total_s:>5.1%})"
        print(line)
    line = f"{'all':>28}"
    for job in jobs:
        line += f"{1e3 * sum(spent.cpu_s for spent in job.stages().values()) / job.frames:>15.3f}         "
    print(line)


def ray_share(jobs: Sequence[Job]) -> float:
    """Print what is not the tasks' time, and return Ray's share of all."""
    print("\nplaces for tasks without one, share of (job x places):")
    ray_s = all_s = 0.0
    for job in jobs:
        whole_s, idle = job.workers * job.seconds, job.idle()
        parts = ", ".join(f"{about} {seconds / whole_s:.1%}" for about, seconds in idle.items())
        ours = sum(seconds for about, seconds in idle.items() if about != "waiting for others")
        print(f"{job.name:>28}  {parts}; Ray {ours / whole_s:.1%} = {ours / job.workers:.1f} s")
        ray_s, all_s = ray_s + ours, all_s + whole_s
    print(f"{'together':>28}  Ray {ray_s / all_s:.1%} (at most {MOST_RAY:.0%} required)")
    return ray_s / all_s


def compare(ours: Job, theirs: Job, count: int) -> None:
    """Print how much longer a job takes with OpenCV's solver."""
    solve = theirs.stages()["solve"].cpu_s / ours.stages()["solve"].cpu_s
    cpu_s = [sum(spent.cpu_s for name, spent in job.stages().items() if name != "prepare") for job in (ours, theirs)]
    print(f"\nwith OpenCV's solver, {count} of the videos take {solve:.1f} times the processor time to solve,")
    print(
        f"{cpu_s[1] / cpu_s[0]:.1f} times for all stages, and the job {theirs.seconds / ours.seconds:.1f} times as long"
    )


def spaced(rows: Sequence[ManifestRow], count: int) -> list[ManifestRow]:
    """``count`` of the rows, evenly spaced."""
    return [rows[i * len(rows) // count] for i in range(min(count, len(rows)))]


def options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--videos", type=int, default=120, help="so many, evenly spaced")
    parser.add_argument("--sample", type=int, default=4, help="videos that OpenCV's solver is given as well")
    parser.add_argument("--workers", type=int, default=available_cores())
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--preset", default="classic", choices=list(PRESETS))
    parser.add_argument("--videos-per-shard", type=int, default=16)
    return parser.parse_args()


def main() -> int:
    """Measure and print."""
    asked = options()
    if not LIST.exists():
        print(f"{LIST} is not there: nothing to measure")
        return 0
    flow = FlowRecipe(tvl1=PRESETS[asked.preset])
    with tempfile.TemporaryDirectory() as folder:
        if index_videos.cli(["csv", str(LIST), "--output", f"{folder}/manifest.parquet"]):
            return 1
        every = read_manifest(f"{folder}/manifest.parquet")
        rows, few = spaced(every, asked.videos), spaced(every, asked.sample) if asked.sample else []

        def job(name: str, recipe: FrameRecipe, backend: Backend, rows: list[ManifestRow], per_shard: int) -> Job:
            solver, output = FlowSolver(backend=backend), f"{folder}/{name.replace(' ', '-')}"
            build = BuildShard(output=output, recipe=recipe, limits=Limits(), run_id="", solver=solver, timed=True)
            return run(name, rows, build, asked.workers, per_shard)

        start = time.perf_counter()
        with cluster(asked.workers) as found:
            print(f"cluster of {found.num_cpus} CPUs started in {time.perf_counter() - start:.1f} s", flush=True)
            jobs = [
                job("frames", FrameRecipe(), "auto", rows, asked.videos_per_shard),
                job(f"flow {asked.backend}", flow, asked.backend, rows, asked.videos_per_shard),
            ]
            sample = [job(f"sample {name}", flow, name, few, 1) for name in (asked.backend, "opencv") if few]
    print(f"\n{len(rows)} videos at {flow.width}x{flow.height}, {asked.preset}, {asked.workers} tasks at a time")
    print(f"load of the machine over the last 15 minutes: {os.getloadavg()[2]:.1f}")
    table(jobs + sample)
    if sample:
        ours, theirs = sample
        compare(ours, theirs, len(few))
    return 0 if ray_share(jobs) <= MOST_RAY else 1


if __name__ == "__main__":
    sys.exit(main())
