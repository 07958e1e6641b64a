"""A cluster for all tests of this folder, and what a person does on it, once."""

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from tests.helpers.infra_files import INFRA, documents
from tests.helpers.sets import make_videos, small_recipe
from tests.helpers.whole_cluster import WholeCluster, whole_cluster

VIDEOS, SHARDS, EPOCHS = 24, 12, 3
MANIFEST, SET = "s3://kinebert/manifest.parquet", "s3://kinebert/sets/rgb"
EXTRACT = ("extract-frames", "--manifest", MANIFEST, "--resize", "none", "--videos-per-shard", "2", "--output")
TUNE = '[tune]\ntrials = 2\nscheduler = "none"\n[tune.space]\n"optim.lr" = { log_uniform = [1e-5, 1e-2] }\n'


@pytest.fixture(scope="session")
def cluster() -> Iterator[WholeCluster]:
    """All parts, and videos in the bucket."""
    with whole_cluster() as found:
        make_videos(found.folder / "videos", [40] * VIDEOS)
        pafs.copy_files(
            str(found.folder / "videos"),
            "kinebert/videos",
            source_filesystem=pafs.LocalFileSystem(),
            destination_filesystem=found.store(),
        )
        yield found


@pytest.fixture(scope="session")
def recipe(cluster: WholeCluster) -> Path:
    path = cluster.folder / "small.toml"
    path.write_text(recipe_text(EPOCHS))
    return path


def recipe_text(epochs: int) -> str:
    """A training of two workers whose state is saved at every step, and a search, as TOML."""
    table = small_recipe(SET, epochs=epochs, head="bert")
    return f'save_every_s = 0\namp = "fp64"\nworkers = 2\n{table}\n{TUNE}'


@dataclass
class Pipeline:
    """What came of the commands that a person gives one after the other."""

    shards: dict[str, bytes]
    """Files of the set, by their names in it."""
    seen: list[tuple[float, float, int]] = field(default_factory=list)
    """While the extraction ran: videos done and shards left as Prometheus had them, then shards in the store."""
    printed: dict[str, str] = field(default_factory=dict)
    """By the name of a program."""


@pytest.fixture(scope="session")
def pipeline(cluster: WholeCluster, recipe: Path) -> Pipeline:
    """Index, extract, train twice, evaluate, tune, compare: once, for all tests."""
    found = Pipeline({})
    (job,) = documents(INFRA / "kubernetes" / "jobs" / "index.yaml")
    found.printed["index"] = submitted_by_ray(cluster, shlex.split(job["spec"]["entrypoint"]))
    extraction = cluster.kinebert(*EXTRACT, SET)
    while extraction.process.poll() is None:
        videos, left = (cluster.asked(f"ray_kinebert_{name}").get(SET) for name in ("videos_total", "shards_left"))
        if videos is not None and left is not None:
            found.seen.append((videos, left, len(shards_of(cluster, "rgb"))))
        time.sleep(0.5)
    assert extraction.wait() == 0, extraction.stdout_file.read_text() + extraction.errors()
    found.shards = cluster.objects("kinebert/sets/rgb")
    found.printed["bert"] = cluster.done("train", str(recipe), "--output", "s3://kinebert/runs/bert")
    tgap = ["--set", "model.head=tgap", "--output", "s3://kinebert/runs/tgap"]
    found.printed["tgap"] = cluster.done("train", str(recipe), *tgap)
    for run in ("bert", "tgap"):
        scored = ["evaluate", f"s3://kinebert/runs/{run}/best.pt", "--part", "test", "--workers", "2"]
        found.printed[f"evaluate {run}"] = cluster.done(*scored)
    search = ["--set", "workers=1", "epochs=1", "--output", "s3://kinebert/searches/small"]
    found.printed["tune"] = cluster.done("tune", str(recipe), *search)
    runs = ["s3://kinebert/runs/bert", "s3://kinebert/runs/tgap"]
    found.printed["compare"] = cluster.done("compare", *runs, "--output", "s3://kinebert/compared")
    return found


def submitted_by_ray(cluster: WholeCluster, entrypoint: list[str], **env: str) -> str:
    """Give a command to ``ray job submit``; return all that it prints."""
    words = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", cluster.page, "--", *entrypoint]
    done = subprocess.run(words, env=cluster.person(**env), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def shards_of(cluster: WholeCluster, folder: str) -> list[str]:
    """Names of the finished shards of one of the sets."""
    found = cluster.store().get_file_info(pafs.FileSelector(f"kinebert/sets/{folder}", allow_not_found=True))
    return [info.base_name for info in found if info.base_name.startswith("shard-")]
