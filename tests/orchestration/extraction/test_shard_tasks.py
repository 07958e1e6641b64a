"""Extraction on a real private cluster: the same set however it is run, and no video that ends a job."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kinebert.orchestration.audience import Terminal
from kinebert.orchestration.extraction import shard_tasks
from kinebert.orchestration.extraction.shard_tasks import ExtractionResult, extract_set
from kinebert.orchestration.progress import ProgressLine, VideoProgress
from kinebert.orchestration.watched_metrics import FRAMES, PAIRS, REJECTED, SHARDS_LEFT, VIDEOS
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.guard import Limits
from kinebert.preprocessing.extraction.task import BuildShard
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.sets.dataset_file import ShardFacts
from kinebert.preprocessing.sets.digests import keep_facts
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.sets.verify import verify_set
from kinebert.preprocessing.sets.writer import VideoSummary
from kinebert.preprocessing.tvl1 import Backend, TvL1Params
from tests.helpers import faults
from tests.helpers.listening import Heard, Sums
from tests.helpers.sets import make_rows, make_set

RGB = FrameRecipe(resize="none")
ray: Any = vars(shard_tasks)["ray"]  # not imported here: what Ray reads at its import must be set before
ray.cloudpickle.register_pickle_by_value(faults)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[ManifestRow]:
    return make_rows(tmp_path_factory.mktemp("videos"), [5, 40, 3, 9, 2, 33])


def extract(rows: list[ManifestRow], output: Path, workers: int | None = None, **options: Any) -> ExtractionResult:
    build = replace(BuildShard(output=str(output), recipe=RGB, limits=Limits(), run_id=""), **options)
    return extract_set(rows, str(output), build, videos_per_shard=2, workers=workers, audience=Terminal())


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_one_worker_two_workers_and_no_cluster_give_the_same_bytes(
    ray_cluster: Any, rows: list[ManifestRow], tmp_path: Path
) -> None:
    one = extract(rows, tmp_path / "one", workers=1)
    two = extract(rows, tmp_path / "two", workers=2)
    assert one.new_videos == 6
    assert one.dataset == two.dataset
    counts = {"videos": 6, "stored": 6, "rejected": 0, "truncated": 0, "frames": 92, "images": 92, "shards": 3}
    assert counts.items() <= one.dataset["counts"].items()
    make_set(rows, tmp_path / "alone", RGB)
    assert content(tmp_path / "one") == content(tmp_path / "two") == content(tmp_path / "alone")
    assert verify_set(str(tmp_path / "one")).problems == ()


@pytest.mark.parametrize(("finished", "relabelled"), [(False, False), (True, True), (True, False)])
def test_a_shard_that_changed_between_two_runs_is_made_again_and_said(
    finished: bool,
    relabelled: bool,
    ray_cluster: Any,
    rows: list[ManifestRow],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of a set that was not finished, of one whose labels were changed, and of one that is asked for again."""
    make_set(rows, tmp_path / "set", RGB)
    before = content(tmp_path / "set")
    plain = json.loads(before["dataset.json"])
    if not finished:
        keep_facts(str(tmp_path / "set"), [ShardFacts(**shard) for shard in plain["shards"]])
        (tmp_path / "set" / "dataset.json").unlink()
    damaged = min((tmp_path / "set").glob("shard-*"))
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    labelled = [replace(row, label_name=f"new {row.label_name}") for row in rows] if relabelled else rows
    extract(labelled, tmp_path / "set")
    assert f"{damaged.name}: not the bytes that had been written (1 in all); made again" in capsys.readouterr().err
    assert damaged.read_bytes() == before[damaged.name]
    assert not (tmp_path / "set" / ".digests").exists()
    assert verify_set(str(tmp_path / "set")).problems == ()


def test_a_second_run_does_nothing_and_another_recipe_is_refused(
    ray_cluster: Any, rows: list[ManifestRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_set(rows, tmp_path / "set", RGB)
    before = content(tmp_path / "set")
    monkeypatch.setattr(shard_tasks, "_run", lambda *_: pytest.fail("there is nothing to do"))
    again = extract(rows, tmp_path / "set")
    assert (again.new_videos, again.dataset["counts"]["stored"]) == (0, 6)
    assert again.seconds < 1
    with pytest.raises(ConfigError, match=r"another recipe .*jpeg_quality: 50 != 95"):
        extract(rows, tmp_path / "set", recipe=replace(RGB, jpeg_quality=50))
    assert content(tmp_path / "set") == before


def test_only_missing_shards_are_made(ray_cluster: Any, rows: list[ManifestRow], tmp_path: Path) -> None:
    make_set(rows, tmp_path / "set", RGB)
    before = content(tmp_path / "set")
    shards = sorted((tmp_path / "set").glob("shard-*"))
    times = [path.stat().st_mtime_ns for path in shards]
    shards[1].unlink()
    (tmp_path / "set" / f".{shards[1].name}.0123.partial").write_bytes(b"half")
    (tmp_path / "set" / ".attempts" / "killed").mkdir(parents=True)
    extract(rows, tmp_path / "set")
    assert content(tmp_path / "set") == before
    changed = [path.stat().st_mtime_ns != time for path, time in zip(shards, times, strict=True)]
    assert changed == [False, True, False]
    assert not (tmp_path / "set" / ".attempts").exists()


def test_twelve_videos_keep_two_cores_busy(ray_cluster: Any, tmp_path: Path) -> None:
    """Who asks for nothing gets a plan by work: one shard was made of all, and a core stood idle."""
    rows = make_rows(tmp_path / "videos", [5] * 12, classes=1)
    build = BuildShard(output=str(tmp_path / "set"), recipe=RGB, limits=Limits(), run_id="", open_video=faults.Paired)
    made = extract_set(rows, str(tmp_path / "set"), build, workers=2)
    assert made.dataset["counts"].items() >= {"shards": 12, "stored": 12}.items()


def test_a_set_that_was_planned_otherwise_goes_on_as_planned(
    ray_cluster: Any, rows: list[ManifestRow], tmp_path: Path
) -> None:
    make_set(rows, tmp_path / "set", RGB, videos_per_shard=2)
    before = content(tmp_path / "set")
    min((tmp_path / "set").glob("shard-*")).unlink()
    build = BuildShard(output=str(tmp_path / "set"), recipe=RGB, limits=Limits(), run_id="")
    assert extract_set(rows, str(tmp_path / "set"), build).dataset["counts"]["shards"] == 3
    assert content(tmp_path / "set") == before


@pytest.mark.parametrize(
    ("open_video", "problem"),
    [
        (faults.Segfaulting, "crash: its worker process died 3 times at this video"),
        # which a worker sees by itself, on a cluster and without
        pytest.param(faults.Hanging, "time: no image came for 3 s (stall_limit_s)", marks=pytest.mark.slow),
    ],
)
def test_a_video_that_kills_its_worker_is_given_up_and_the_others_are_made(
    ray_cluster: Any, rows: list[ManifestRow], tmp_path: Path, open_video: type, problem: str
) -> None:
    limits = Limits(stall_limit_s=3)
    extract(rows, tmp_path / "set", open_video=open_video, limits=limits)
    found = ShardSet.open(str(tmp_path / "set"))
    assert [(video.video_id, video.problem) for video in found.rejected] == [("class1/v01", problem)]
    make_set([row for row in rows if row.video_id != "class1/v01"], tmp_path / "others", RGB)
    others = ShardSet.open(str(tmp_path / "others"))
    for video in others.videos:
        ours = found.read_jpegs(found.entry(video.video_id), range(video.num_images))
        assert ours == others.read_jpegs(video, range(video.num_images))
    assert json.loads((tmp_path / "set" / "dataset.json").read_text())["rejected"][0]["problem"] == problem
    assert verify_set(str(tmp_path / "set")).problems == ()  # no .attempts, nothing partial


def test_rejected_videos_are_tried_again_and_meanwhile_the_set_is_unfinished(
    ray_cluster: Any, rows: list[ManifestRow], tmp_path: Path
) -> None:
    limits = Limits(stall_limit_s=3)
    extract(rows, tmp_path / "set", open_video=faults.Hanging, limits=limits)
    with pytest.raises(UserError, match="expected a clean lens"):
        extract(rows, tmp_path / "set", open_video=faults.Refusing, retry_rejected=True)
    with pytest.raises(UserError, match="an unfinished set"):
        ShardSet.open(str(tmp_path / "set"))
    assert extract(rows, tmp_path / "set", retry_rejected=True).dataset["counts"]["rejected"] == 0
    make_set(rows, tmp_path / "alone", RGB)
    assert content(tmp_path / "set") == content(tmp_path / "alone")


def test_tasks_on_cpus_import_no_torch_and_say_who_solved(
    ray_cluster: Any, rows: list[ManifestRow], tmp_path: Path
) -> None:
    heard = Heard()
    flow = FlowRecipe(resize="none", tvl1=TvL1Params(warps=1))
    backends: tuple[tuple[Backend, str], ...] = (("auto", "numba"), ("opencv", "opencv"))
    for backend, expected in backends:
        build = BuildShard(output=str(tmp_path / backend), recipe=flow, limits=Limits(), run_id="")
        build = replace(build, solver=FlowSolver(backend=backend), open_video=faults.WithoutTorch)
        output = str(tmp_path / backend)
        made = extract_set(rows, output, build, videos_per_shard=2, gpus_per_task=0.0, audience=heard)
        (name,) = made.dataset["flow"]["solvers"]
        assert name.startswith(expected)
        assert made.dataset["flow"]["solvers"] == {name: 86}
        assert [shard.solver for shard in made.shards] == [name] * 3
    assert heard.said == ["solver: numba on CPUs", "solver: opencv on CPUs"]
    make_set(rows, tmp_path / "alone", flow, solver=FlowSolver(backend="numba"))
    assert content(tmp_path / "auto") == content(tmp_path / "alone")
    build = replace(build, output=str(tmp_path / "auto"), solver=FlowSolver(backend="opencv"))
    again = extract_set(rows, str(tmp_path / "auto"), build, videos_per_shard=2)
    assert again.new_videos == 0  # the backend is no part of the recipe


def test_torch_without_a_gpu_works_and_is_said_to_be_slow(
    ray_cluster: Any, rows: list[ManifestRow], tmp_path: Path
) -> None:
    heard = Heard()
    flow = FlowRecipe(resize="none", tvl1=TvL1Params(warps=1, nscales=2, outer_iterations=1))
    build = BuildShard(output=str(tmp_path), recipe=flow, limits=Limits(), run_id="")
    build = replace(build, solver=FlowSolver(backend="torch"))
    made = extract_set(rows[:2], str(tmp_path), build, videos_per_shard=2, gpus_per_task=0.0, audience=heard)
    (name,) = made.dataset["flow"]["solvers"]
    assert name.startswith("torch 2.")
    assert not name.endswith("on a GPU")
    assert made.dataset["counts"]["images"] == sum(video.num_frames - 1 for video in made.shards[0].videos)
    assert "slow: without a GPU --backend numba" in heard.said[0]


def test_what_a_user_must_do_arrives_as_it_was_said(ray_cluster: Any, rows: list[ManifestRow], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"v0\d.mp4: expected a clean lens\.$"):
        extract(rows, tmp_path / "set", open_video=faults.Refusing)
    left = {path.name for path in (tmp_path / "set").iterdir()}
    assert left <= {".claim.json", ".attempts"}


def test_a_bug_keeps_its_traceback(ray_cluster: Any, rows: list[ManifestRow], tmp_path: Path) -> None:
    with pytest.raises(ray.exceptions.RayTaskError, match="KeyError: 'bug'"):
        extract(rows, tmp_path / "set", open_video=faults.Buggy)


def test_progress_says_what_is_done_and_how_long_it_will_take(
    ray_cluster: Any, rows: list[ManifestRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    broken = replace(rows[0], video_id="class9/empty", path=str(tmp_path / "empty.mp4"), bytes=0)
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    sums = Sums(str(tmp_path / "set"))
    monkeypatch.setattr(shard_tasks, "Exporter", {sums.output: sums}.__getitem__)
    extract([*rows, broken], tmp_path / "set")
    numbers = (sums.values[metric] for metric in (VIDEOS, REJECTED, FRAMES, PAIRS, SHARDS_LEFT))
    assert [*numbers] == [7, 1, 92, 0, 0]
    last = stream.getvalue().splitlines()[-1]
    assert last.startswith("7/7 videos, 0 s left, 92 frames, ")
    assert ", 1 rejected, " in last


def test_time_left_is_of_the_new_videos_only(rows: list[ManifestRow], monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the videos are there from an earlier run; two of three new ones took ten seconds."""
    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    progress = VideoProgress(rows, kept={row.video_id for row in rows[:3]}, line=ProgressLine())
    monkeypatch.setattr("time.monotonic", lambda: 10.0)
    progress.hear([VideoSummary(video_id=row.video_id, num_frames=100) for row in rows[:5]])
    assert progress._text() == "5/6 videos, 5 s left, 500 frames, 20.0 frames/s, 0 rejected, 10 s gone"


@pytest.mark.parametrize("absurd", [0, 5])
def test_a_header_that_promises_the_moon_does_not_spoil_the_time_left(
    absurd: int, rows: list[ManifestRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither when its video is done, which made the others seem nothing, nor while it waits."""
    listed = [replace(row, duration_s=1e9 if i == absurd else 1.0, bytes=5000) for i, row in enumerate(rows)]
    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    progress = VideoProgress(listed, kept=(), line=ProgressLine())
    monkeypatch.setattr("time.monotonic", lambda: 10.0)
    progress.hear([VideoSummary(video_id=row.video_id, num_frames=25) for row in rows[:4]])
    assert progress._text().startswith("4/6 videos, 5 s left, ")


def test_the_last_word_does_not_depend_on_who_reported_in_time(
    rows: list[ManifestRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    videos = [VideoSummary(video_id=row.video_id, num_frames=10) for row in rows]
    progress = VideoProgress(rows, kept=(), line=ProgressLine())
    progress.hear(videos[:2])
    progress.close(videos)
    assert stream.getvalue().splitlines()[-1].startswith("6/6 videos, 0 s left, 60 frames, ")
