"""Whoever is killed at whatever moment: the next run ends with the bytes of an undisturbed one, and nothing is left."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kinebert.preprocessing.datasets.manifest import ManifestRow, write_manifest
from kinebert.preprocessing.extraction.pose_finder import PoseFinder
from kinebert.preprocessing.recipe import FrameRecipe, PoseRecipe
from tests.chaos.conftest import Launch
from tests.helpers.poses import SHA256, bright_backend, write_weights
from tests.helpers.processes import Program
from tests.helpers.requirements import missing
from tests.helpers.sets import make_set
from tests.helpers.videos import manifest_rows, moving_texture, write_video

if not Path("/proc/self/environ").exists():
    missing("system", "there is no /proc")

Start = Callable[..., Program]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[ManifestRow]:
    folder = tmp_path_factory.mktemp("chaos") / "videos"
    for i in range(3):
        first = write_video(folder / f"class{i}" / "v0.mp4", moving_texture(250, 320, 240, seed=i))
        for copy in range(1, 4):
            shutil.copy(first, first.with_name(f"v{copy}.mp4"))
    return manifest_rows(folder)


@pytest.fixture(scope="module", params=["extract_frames", pytest.param("extract_pose", marks=pytest.mark.slow)])
def kind(request: pytest.FixtureRequest) -> str:
    """The program."""
    return str(request.param)


@pytest.fixture(scope="module")
def undisturbed(rows: list[ManifestRow], kind: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    recipe, solver = FrameRecipe(resize="none"), None
    with bright_backend():
        if kind == "extract_pose":
            recipe = PoseRecipe(resize="none", backend="bright", weights={"network": SHA256})
            solver = PoseFinder(files={"network": str(write_weights(folder))})
        make_set(rows, folder / "set", recipe, videos_per_shard=1, solver=solver)
    return content(folder / "set")


@pytest.fixture
def start(rows: list[ManifestRow], kind: str, tmp_path: Path, launch: Launch) -> Start:
    write_manifest(str(tmp_path / "manifest.parquet"), rows)

    def extract(workers: int = 1, **env: str) -> Program:
        args = ["--manifest", str(tmp_path / "manifest.parquet"), "--output", str(tmp_path / "set")]
        args += ["--resize", "none", "--videos-per-shard", "1", "--workers", str(workers)]
        if kind == "extract_pose":
            args += ["--backend", "bright", "--weights", str(write_weights(tmp_path / "weights"))]
        return launch(kind, *args, **env)

    return extract


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def shards(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "set").glob("shard-*"))


def test_a_killed_driver(start: Start, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    first = start()
    first.wait_for(lambda: shards(tmp_path), "the first shard")
    first.alive()  # remembers the cluster's folder
    first.process.kill()
    done = len(shards(tmp_path))
    assert 1 <= done < 12
    assert not (tmp_path / "set" / "dataset.json").exists()
    first.wait_until_nobody_works()
    (folder,) = first.cluster_folders
    assert Path(folder).exists()  # who is killed cannot tidy up
    times = {path: path.stat().st_mtime_ns for path in shards(tmp_path)}

    second = start()
    assert second.wait() == 0, second.errors()
    assert content(tmp_path / "set") == undisturbed  # so no .partial and no .attempts either
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert not Path(folder).exists()
    second.wait_until_nothing_runs()


@pytest.mark.slow
def test_what_a_killed_driver_leaves_behind_ends_by_itself(start: Start, tmp_path: Path) -> None:
    program = start()
    program.wait_for(lambda: shards(tmp_path), "the first shard")
    program.process.kill()
    program.wait_until_nothing_runs(100)  # two of Ray's helpers spend up to 60 s on a report to the driver that is dead


@pytest.mark.slow
def test_a_killed_worker(start: Start, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    """And while a cluster is alive: nobody else can reach it, and it leaves no trace outside its folder."""
    program = start(workers=2)
    program.wait_for(lambda: shards(tmp_path), "the first shard")
    found = program.wait_for(program.workers, "a worker in the middle of a task")
    os.kill(found[0], signal.SIGKILL)
    assert len(program.listening()) >= 3
    assert program.listening_to_strangers() == set()
    assert program.wait() == 0, program.errors()
    assert content(tmp_path / "set") == undisturbed
    program.wait_until_nothing_runs()
    assert len(program.cluster_folders) == 1
    assert not Path(program.cluster_folders.pop()).exists()
    assert [path.name for path in program.home.rglob("*")] == []
    assert "12 of 12 videos" in program.stdout_file.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "words"),
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
)
def test_a_program_that_is_told_to_end(
    start: Start, tmp_path: Path, number: signal.Signals, status: int, words: str
) -> None:
    program = start()
    program.wait_for(lambda: shards(tmp_path), "the first shard")
    program.alive()
    began = time.monotonic()
    if number == signal.SIGINT:
        os.killpg(program.process.pid, number)  # as a terminal does
    else:
        program.process.send_signal(number)
    assert program.wait(30) == status, program.errors()
    assert time.monotonic() - began < 15
    assert program.errors().splitlines()[-1] == f"{words}; run the same command again to continue"
    assert "Traceback" not in program.errors()
    program.wait_until_nothing_runs()
    assert not any(Path(folder).exists() for folder in program.cluster_folders)
    names = [path.name for path in (tmp_path / "set").iterdir()]
    assert [name for name in names if name.endswith(".partial") or name in (".attempts", "dataset.json")] == []


def test_a_given_cluster_that_is_not_there(start: Start, tmp_path: Path) -> None:
    began = time.monotonic()
    program = start(RAY_ADDRESS="127.0.0.1:9")
    assert program.wait() == 2
    assert time.monotonic() - began < 30  # Ray alone takes 14 minutes; measured 3 s
    (line,) = program.errors().splitlines()
    assert line.startswith("error: RAY_ADDRESS=127.0.0.1:9: no Ray cluster answers there")
    assert shards(tmp_path) == []
