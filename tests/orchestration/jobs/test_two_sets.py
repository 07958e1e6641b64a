"""Frames and flow filled in one pass: the sets that two jobs make, however far each of them was."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kinebert.orchestration.audience import NOBODY
from kinebert.orchestration.extraction import shard_tasks
from kinebert.orchestration.extraction.placement import Placement
from kinebert.orchestration.jobs.extraction import extract_both
from kinebert.orchestration.jobs.extraction_requests import TwoSetsRequest
from kinebert.preprocessing.datasets.manifest import ManifestRow, write_manifest
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.task import BuildShards
from kinebert.preprocessing.folder_lock import EXTRACTION, RUNNING_FILE, held
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.sets.digests import keep_facts
from kinebert.preprocessing.sets.plan import PlannedShard
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.sets.verify import verify_set
from kinebert.preprocessing.tvl1 import TvL1Params
from tests.helpers.listening import Heard
from tests.helpers.sets import make_rows, make_set

RGB = FrameRecipe(resize="none")
FLOW = FlowRecipe(resize="none", tvl1=TvL1Params(warps=1, nscales=1, outer_iterations=1))
NUMBA = FlowSolver(backend="numba")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[ManifestRow]:
    return make_rows(tmp_path_factory.mktemp("videos"), [5, 40, 3, 9])


@pytest.fixture(scope="module")
def apart(rows: list[ManifestRow], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both sets, made one after the other."""
    folder = tmp_path_factory.mktemp("apart")
    write_manifest(str(folder / "manifest.parquet"), rows)
    make_set(rows, folder / "rgb", RGB)
    make_set(rows, folder / "flow", FLOW, solver=NUMBA)
    return folder


def asked(apart: Path, folder: Path, **options: Any) -> TwoSetsRequest:
    return TwoSetsRequest(
        manifest=str(apart / "manifest.parquet"),
        frames=str(folder / "rgb"),
        flow=str(folder / "flow"),
        **{"recipe": RGB, "flow_recipe": FLOW, "videos_per_shard": 2, "backend": "numba", **options},
    )


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def sets(folder: Path) -> dict[str, dict[str, bytes]]:
    return {name: content(folder / name) for name in ("rgb", "flow")}


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Let tasks run in this process, without a cluster; the sets that each pass fills, and its shards."""
    found: list[list[str]] = []

    def run(shards: Sequence[PlannedShard], build: BuildShards, *_: object) -> Any:
        found.append([Path(each.output).name for each in build.builds])
        return [build(shard) for shard in shards]

    here = Placement(solver=NUMBA, gpus_per_task=0.0, num_actors=0, about="solver: numba, here")
    for name, stand_in in (("_run", run), ("_place", lambda *_: here), ("watched", lambda *_: nullcontext())):
        monkeypatch.setattr(shard_tasks, name, stand_in)
    monkeypatch.setattr(vars(shard_tasks)["_cluster"], "cluster", lambda *_: nullcontext())
    return found


def test_both_sets_are_those_of_two_jobs(apart: Path, tmp_path: Path, passes: list[list[str]]) -> None:
    frames, flow = extract_both(asked(apart, tmp_path))
    assert passes == [["rgb", "flow"]]
    assert sets(tmp_path) == sets(apart)
    assert (frames.new_videos, flow.new_videos, frames.failed, flow.failed) == (4, 4, False, False)
    assert (frames.folder, flow.folder) == (str(tmp_path / "rgb"), str(tmp_path / "flow"))
    assert flow.dataset["counts"]["images"] == frames.dataset["counts"]["images"] - 4
    again = extract_both(asked(apart, tmp_path))
    assert [each.new_videos for each in again] == [0, 0]
    assert len(passes) == 1
    assert sets(tmp_path) == sets(apart)


@pytest.mark.parametrize("finished", ["rgb", "flow"])
def test_a_set_that_is_finished_is_left_alone(
    finished: str, rows: list[ManifestRow], apart: Path, tmp_path: Path, passes: list[list[str]]
) -> None:
    recipe = RGB if finished == "rgb" else FLOW
    make_set(rows, tmp_path / finished, recipe, solver=NUMBA)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / finished).glob("*")}
    extract_both(asked(apart, tmp_path))
    assert passes == [["flow" if finished == "rgb" else "rgb"]]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / finished).glob("*")} == times
    assert sets(tmp_path) == sets(apart)


def unfinish(folder: Path, lost: Sequence[int]) -> None:
    """Make a set what a job leaves that is killed: so many shards are not there yet."""
    (folder / "dataset.json").unlink()
    shards = sorted(folder.glob("shard-*"))
    for i in lost:
        shards[i].unlink()


@pytest.mark.parametrize(("frames", "flow"), [([0], [1]), ([0, 1], [1]), ([], [0])])
def test_both_go_on_from_wherever_they_were(
    frames: list[int], flow: list[int], rows: list[ManifestRow], apart: Path, tmp_path: Path, passes: list[list[str]]
) -> None:
    for name, recipe, lost in (("rgb", RGB, frames), ("flow", FLOW, flow)):
        made = make_set(rows, tmp_path / name, recipe, solver=NUMBA)
        keep_facts(str(tmp_path / name), made.dataset.shards)
        unfinish(tmp_path / name, lost)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/shard-*")}
    extract_both(asked(apart, tmp_path))
    assert passes == [["rgb", "flow"]]
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert sets(tmp_path) == sets(apart)


def test_sets_with_other_plans_are_filled_one_after_the_other(
    rows: list[ManifestRow], apart: Path, tmp_path: Path, passes: list[list[str]]
) -> None:
    make_set(rows, tmp_path / "rgb", RGB, videos_per_shard=1)
    before = content(tmp_path / "rgb")
    unfinish(tmp_path / "rgb", [0, 2])
    heard = Heard()
    extract_both(asked(apart, tmp_path), heard)
    assert passes == [["rgb"], ["flow"]]
    assert "one set was begun with other shards: the videos are decoded for each set" in heard.said
    assert content(tmp_path / "rgb") == before
    assert content(tmp_path / "flow") == content(apart / "flow")


@pytest.mark.parametrize("busy", ["rgb", "flow"])
def test_neither_is_touched_while_somebody_fills_one(
    busy: str, apart: Path, tmp_path: Path, passes: list[list[str]]
) -> None:
    (tmp_path / busy).mkdir()
    with held(str(tmp_path / busy), EXTRACTION), pytest.raises(UserError, match=f"{busy}: another job .* is filling"):
        extract_both(asked(apart, tmp_path))
    assert passes == []
    assert list(tmp_path.glob(f"*/{RUNNING_FILE}")) == []
    extract_both(asked(apart, tmp_path))
    assert sets(tmp_path) == sets(apart)


def test_what_was_rejected_stands_in_both(rows: list[ManifestRow], tmp_path: Path, passes: list[list[str]]) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    broken = replace(rows[0], video_id="class9/empty", path=str(tmp_path / "empty.mp4"), bytes=0, fingerprint=None)
    write_manifest(str(tmp_path / "manifest.parquet"), [*rows, broken])
    results = extract_both(asked(tmp_path, tmp_path))
    assert all(result.failed for result in results)
    for name in ("rgb", "flow"):
        assert [video.video_id for video in ShardSet.open(str(tmp_path / name)).rejected] == ["class9/empty"]
        assert verify_set(str(tmp_path / name)).problems == ()
    Path(broken.path).write_bytes(Path(rows[1].path).read_bytes())
    results = extract_both(asked(tmp_path, tmp_path, retry_rejected=True))
    assert [result.dataset["rejected"] for result in results] == [[], []]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda given: {"flow": given["frames"]}, "frames and flow are two sets: give each a folder of its own"),
        (
            lambda given: {"flow_recipe": replace(FLOW, frame_step=2)},
            "frame_step is 1 for the frames and 2 for",
        ),
        (
            lambda given: {"recipe": replace(RGB, drop_repeats=True)},
            "drop_repeats is True for the frames and False for",
        ),
        (lambda given: {"flow_recipe": replace(FLOW, video_stream=1)}, "video_stream is None for the frames and 1 for"),
        (lambda given: {"recipe": FLOW}, "the recipe of the frames is one for flow"),
        (lambda given: {"backend": "numba", "gpus_per_task": 0.5}, "gpus_per_task = 0.5, but backend = numba"),
    ],
)
def test_what_cannot_be_asked(change: Callable[[dict[str, Any]], dict[str, Any]], said: str) -> None:
    given = {"manifest": "m", "frames": "sets/x", "flow": "sets/y", "recipe": RGB, "flow_recipe": FLOW}
    with pytest.raises(ConfigError, match=said):
        TwoSetsRequest(**{**given, **change(given)})


def test_a_cluster_fills_both(ray_cluster: Any, apart: Path, tmp_path: Path) -> None:
    extract_both(asked(apart, tmp_path), NOBODY)
    assert sets(tmp_path) == sets(apart)
