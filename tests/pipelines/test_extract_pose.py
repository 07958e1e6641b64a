"""Poses as a user makes them: of videos, of a set of frames, and of another set's joints."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import kinebert
from kinebert.pipelines import extract_pose, verify
from kinebert.preprocessing.datasets.manifest import write_manifest
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.extraction import pose_finder
from kinebert.preprocessing.pose.estimator import Means
from kinebert.preprocessing.pose.weights import FOLDER_VARIABLE
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe, PoseRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.sets.verify import verify_set
from tests.helpers.poses import PLUGIN, SHA256, Bright, BrightParams, bright_backend, write_weights
from tests.helpers.processes import Program
from tests.helpers.sets import make_rows, make_set
from tests.helpers.videos import truncate_video
from tests.helpers.without_ray import extract_here


@pytest.fixture(autouse=True)
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The test's backend is there, without its weights; no cluster is started."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "weights"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    extract_here(monkeypatch)
    pose_finder._started.cache_clear()
    with bright_backend():
        yield


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest, one of whose videos breaks off and one cannot be read, and sets of its frames and flow."""
    folder = tmp_path_factory.mktemp("given")
    rows = make_rows(folder / "videos", [36, 9, 30, 7])
    truncate_video(Path(rows[1].path), 0.7)
    Path(rows[2].path).write_bytes(b"nothing")
    rows = [replace(row, bytes=Path(row.path).stat().st_size, fingerprint=None) for row in rows]
    write_manifest(str(folder / "manifest.parquet"), rows)
    make_set(rows, folder / "rgb", FrameRecipe(resize="none"))
    make_set(rows[:1], folder / "flow", FlowRecipe(resize="none", jpeg_quality=50))
    return folder


def pictures(shards: ShardSet) -> list[tuple[bytes, ...]]:
    """Every stored picture."""
    return [
        tuple(bytes(jpeg) for jpeg in image)
        for video in shards.videos
        for image in shards.read_jpegs(video, range(video.num_images))
    ]


def joints(shards: ShardSet) -> list[bytes]:
    """Everybody."""
    return [people.tobytes() for video in shards.videos for people in shards.read_joints(video).people]


def test_videos_become_poses(given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = write_weights(tmp_path / "downloads")
    args = ["--backend", "bright", "--manifest", str(given / "manifest.parquet"), "--max-rejected", "0.3"]
    args += ["--resize", "none", "--set", "people=2", "spread=0.5"]
    assert extract_pose.cli([*args, "--weights", str(weights), "--output", str(tmp_path / "a")]) == 0
    printed = capsys.readouterr().out
    assert "people are found by bright: a test's. Licence of its weights: for tests only\n" in printed
    assert "poses found by bright: bright 1.0 (" in printed
    assert "rejected class1/v01: " in printed
    assert f"kinebert train pose --set data.shards={tmp_path / 'a'}" in printed
    shards = ShardSet.open(str(tmp_path / "a"))
    assert shards.recipe["params"] == {"people": 2, "spread": 0.5, "fails_at": -1}
    assert shards.recipe["weights"] == {"network": SHA256}
    assert str(weights) not in (tmp_path / "a" / "dataset.json").read_text()
    assert [video.truncated for video in shards.videos].count(True) == 1
    assert verify.cli([str(tmp_path / "a")]) == 0
    assert "poses found by bright: bright 1.0 (" in capsys.readouterr().out
    # on another day the file lies in the folder of weights, under another name, and a recipe file names its digest
    write_weights(tmp_path / "weights", "x.bin")
    (tmp_path / "r.toml").write_text(
        f'backend = "bright"\nresize = "none"\n[weights]\nnetwork = "{SHA256}"\n[params]\npeople = 2\nspread = 0.1\n'
    )
    again = ["--config", str(tmp_path / "r.toml"), *args[2:6], "--set", "spread=0.5", "--output", str(tmp_path / "b")]
    assert extract_pose.cli(again) == 0
    assert ShardSet.open(str(tmp_path / "b")).content == shards.content


def test_stored_frames_are_looked_at_in_place_of_videos(given: Path, tmp_path: Path) -> None:
    write_weights(tmp_path / "weights")
    found = kinebert.extract_pose(
        tmp_path / "pose",
        from_set=given / "rgb",
        recipe={"backend": "bright", "weights": {"network": SHA256}, "resize": "none"},
        max_rejected=0.5,
    )
    frames, poses = ShardSet.open(str(given / "rgb")), ShardSet.open(found.folder)
    assert poses.recipe["source"] == frames.digest
    assert verify_set(poses.uri).problems == ()
    assert (poses.classes, poses.splits()) == (frames.classes, frames.splits())
    assert [_facts(video) for video in poses.videos] == [_facts(video) for video in frames.videos]
    assert poses.rejected[0].problem == f"manifest: {frames.rejected[0].problem}"
    for video in frames.videos:
        stored = [cv2.cvtColor(image, cv2.COLOR_RGB2BGR) for image in frames.read_clip(video, range(video.num_images))]
        people = Bright(BrightParams(), Means())(stored)  # type: ignore[arg-type]
        seen = poses.read_joints(poses.entry(video.video_id))
        assert (seen.width, seen.height) == (64, 48)
        assert all(np.array_equal(a, b.astype(np.float16)) for a, b in zip(seen.people, people, strict=True))
    of_videos = kinebert.extract_pose(
        tmp_path / "of videos",
        manifest=given / "manifest.parquet",
        recipe={"backend": "bright", "weights": {"network": SHA256}, "resize": "none"},
        max_rejected=0.5,
    )
    direct = ShardSet.open(of_videos.folder)
    assert direct.digest != poses.digest
    for a, b in zip(direct.videos, poses.videos, strict=True):  # JPEG at 95 moves the mean by a grey level or two
        pairs = zip(direct.read_joints(a).people, poses.read_joints(b).people, strict=True)
        assert all(np.abs(x.astype(float) - y).max(initial=0) < 0.1 for x, y in pairs)


def _facts(video: object) -> list[object]:
    names = ("video_id", "label", "label_name", "splits", "num_frames", "num_images", "truncated", "problem")
    return [getattr(video, name) for name in (*names, "num_repeated", "num_near_still")]


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"look": "cpu", "width": 48, "height": 40}, "--look cpu --width 48 --height 40"),
        ({"threshold": 0.95}, "--threshold 0.95 --width 32 --height 24"),
        ({"resize": "none", "jpeg_quality": 70}, "--resize none --jpeg-quality 70"),
    ],
)
def test_joints_are_drawn_anew_as_if_videos_had_been_looked_at(
    changes: dict[str, Any], options: str, given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_weights(tmp_path / "weights")
    recipe = {"backend": "bright", "weights": {"network": SHA256}, "params": {"people": 2}, "width": 32, "height": 24}
    where: dict[str, Any] = {"manifest": given / "manifest.parquet", "max_rejected": 0.5}
    kinebert.extract_pose(tmp_path / "first", recipe=recipe, **where)
    kinebert.extract_pose(tmp_path / "direct", recipe={**recipe, **changes}, **where)
    path.unlink()
    monkeypatch.setattr(Bright, "__call__", None)
    args = ["--redraw", str(tmp_path / "first"), "--output", str(tmp_path / "anew"), "--max-rejected", "0.5"]
    assert extract_pose.cli([*args, *options.split()]) == 0
    direct, anew = ShardSet.open(str(tmp_path / "direct")), ShardSet.open(str(tmp_path / "anew"))
    assert anew.digest == direct.digest
    assert pictures(anew) == pictures(direct)
    assert joints(anew) == joints(direct)
    assert anew.solvers == direct.solvers
    assert [_facts(video) for video in anew.videos] == [_facts(video) for video in direct.videos]
    assert verify_set(anew.uri).problems == ()
    assert pictures(anew) != pictures(ShardSet.open(str(tmp_path / "first")))


def test_what_cannot_be_is_told_in_one_line(given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = make_set(make_rows(tmp_path / "videos", [5]), tmp_path / "drawn", PoseRecipe(resize="none"))
    weights = write_weights(tmp_path / "downloads")
    kinebert.extract_pose(
        tmp_path / "pose",
        manifest=given / "manifest.parquet",
        recipe={"backend": "bright"},
        weights={"network": weights},
    )
    other = tmp_path / "other.bin"
    other.write_bytes(b"bright, but others")
    (tmp_path / "r.toml").write_text(f'backend = "bright"\n[weights]\nnetwork = "{SHA256}"\n')
    manifest, bright = f"--manifest {given}/manifest.parquet", "--backend bright"
    for line, said in {
        f"{bright}": "say what is looked at: one of manifest, from_set",
        f"{bright} {manifest} --from-set {given}/rgb": "say what is looked at",
        f"{manifest}": "kinebert extract-pose --backends tells",
        f"{manifest} --backend brihgt": "no pose backend 'brihgt'. Did you mean bright?",
        f"{manifest} {bright}": "needs a file 'network' (six letters)",
        f"{manifest} {bright} --set peple=1": "unknown key 'peple'",
        f"{manifest} {bright} --weights netwrk={weights}": "'netwrk'. Did you mean network?",
        f"{manifest} {bright} --weights {tmp_path}/absent": "there is no such file of weights (network: ",
        f"{manifest} --config {tmp_path}/r.toml --weights {other}": (
            f"its SHA-256 is {hashlib.sha256(other.read_bytes()).hexdigest()}, expected {SHA256}"
        ),
        f"{bright} --weights {weights} --from-set {given}/flow": "a set of flow, poses are looked for in one of rgb",
        f"{bright} --weights {weights} --from-set {given}/rgb --source 0123": "but source = 0123",
        f"{manifest} {bright} --weights {weights} --gpus-per-task 0.5": "but backend = bright uses no GPU",
        f"--redraw {drawn.uri}": "a set of pose without joints, of which nothing can be drawn",
        f"--redraw {tmp_path}/pose --background frame": "needs the frames",
        f"--redraw {tmp_path}/nothing": "expected a finished shard set",
    }.items():
        assert extract_pose.cli([*line.split(), "--output", str(tmp_path / "out")]) == 2
        printed = capsys.readouterr()
        assert printed.err.startswith("error: "), (line, printed)
        assert printed.err.count("\n") == 1, printed.err
        assert said in printed.err, (line, printed.err)
        assert not (tmp_path / "out").exists()


def test_backends_say_what_they_take(capsys: pytest.CaptureFixture[str]) -> None:
    assert extract_pose.cli(["--backends"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("bright: a test's")
    assert lines[start + 1 : start + 8] == [
        "  licence of its weights: for tests only",
        "  Write them yourself",
        "  --weights network=FILE  six letters",
        "  --weights more=FILE  nothing (can be left out)",
        "  --set people=1",
        "  --set spread=0.25",
        "  --set fails_at=-1",
    ]


def test_two_sets_in_one_pass_are_frames_and_flow(given: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"looks for poses: kinebert extract-pose makes"):
        kinebert.extract_both(
            given / "manifest.parquet", tmp_path / "a", tmp_path / "b", modality="pose", recipe={"backend": "bright"}
        )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_on_a_cluster_sets_become_sets_as_in_one_process(given: Path, tmp_path: Path) -> None:
    """Tasks get a set in place of videos, or of a network."""
    weights = write_weights(tmp_path / "weights")
    recipe = {"backend": "bright", "weights": {"network": SHA256}, "resize": "none"}
    whole: dict[str, Any] = {"max_rejected": 0.5, "videos_per_shard": 1}
    kinebert.extract_pose(tmp_path / "here", from_set=given / "rgb", recipe=recipe, **whole)
    kinebert.extract_pose(tmp_path / "anew", redraw=tmp_path / "here", recipe={"look": "cpu"}, **whole)
    common = ["--max-rejected", "0.5", "--videos-per-shard", "1", "--output"]
    of_set = ["--from-set", str(given / "rgb"), "--backend", "bright", "--weights", str(weights), "--resize", "none"]
    for name, args in (("here", of_set), ("anew", ["--redraw", str(tmp_path / "here"), "--look", "cpu"])):
        there = tmp_path / "there" / name
        program = Program("extract_pose", [*args, *common, str(there)], tmp_path / f"p{name}", MORE_PYTHONPATH=PLUGIN)
        assert program.wait(300) == 0, program.errors()
        program.tidy_up()
        assert ShardSet.open(str(there)).content == ShardSet.open(str(tmp_path / name)).content
