"""The way from a folder of videos to a fused result, as a user goes it."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest
from mlflow import MlflowClient

from kinebert.pipelines import (
    attend,
    evaluate,
    export_frames,
    extract_flow,
    extract_frames,
    fuse,
    index_videos,
    predict,
    register,
    show,
    train,
    verify,
)
from kinebert.preprocessing.datasets.manifest import read_manifest
from kinebert.preprocessing.recipe import PoseRecipe
from kinebert.training.evaluation.evaluate import read_scores
from tests.helpers.sets import RECIPE_OF_PROGRAMS, make_set, make_videos
from tests.helpers.without_ray import train_here


def height(picture: str) -> int:
    """Of a picture in the present folder, in pixels."""
    image = cv2.imread(picture)
    assert image is not None
    return image.shape[0]


def test_sets_are_verified_exported_and_shown(kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, images in (("rgb", 180), ("flow", 160)):
        assert verify.cli([str(kept / "sets" / kind)]) == 0
        printed = capsys.readouterr().out
        assert f"whole: 20 videos, {images} images in 2 shards" in printed
        assert ("TV-L1, preset classic, solved by numba 0." in printed) is (kind == "flow")
        assert "  0 of 180 frames (0.0%) repeat the one before, 0 more are nearly still\n" in printed
        assert export_frames.cli([str(kept / "sets" / kind), "--output", "pictures"]) == 0
    assert len(list((tmp_path / "pictures").rglob("*.jpg"))) == 20 * (9 + 2 * 8)
    assert show.cli([str(kept / "sets" / "flow"), "class0/v00"]) == 0
    assert height("class0_v00.png") > 100
    printed = capsys.readouterr().out
    assert "sets/flow and " in printed  # the frames beside it were found
    assert "TV-L1, preset classic, solved by numba 0." in printed
    assert show.cli([str(kept / "sets" / "rgb"), "class0/v00", "--output", "x.png", "--images", "2"]) == 0
    damaged = shutil.copytree(kept / "sets" / "rgb", tmp_path / "damaged")
    (damaged / "notes.txt").write_text("mine")
    assert verify.cli([str(damaged), "--quick"]) == 1
    assert "notes.txt: does not belong to the set" in capsys.readouterr().out


def test_drawn_poses_are_a_stream_of_their_own(
    kept: Path, tmp_path: Path, ray_cluster: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train_here(monkeypatch)
    poses = str(tmp_path / "poses")
    args = ["--manifest", str(kept / "manifest.parquet"), "--resize", "none", "--output", poses]
    assert extract_frames.cli([*args, "--modality", "pose"]) == 0
    assert verify.cli([poses]) == 0
    assert extract_frames.cli(args) == 2
    assert "modality: 'rgb' != 'pose'" in capsys.readouterr().err
    (tmp_path / "recipe.toml").write_text(RECIPE_OF_PROGRAMS.format(shards=poses))
    run = ["recipe.toml", "--output", str(tmp_path / "run"), "--set"]
    assert train.cli([*run, "data.modality=rgb"]) == 2
    assert "holds pose, the recipe's data.modality is rgb" in capsys.readouterr().err
    assert train.cli([*run, "data.modality=pose", "epochs=1"]) == 0
    assert evaluate.cli([str(kept / "runs" / "rgb" / "best.pt"), "--shards", poses]) == 2
    assert "the checkpoint takes rgb, the shard set" in capsys.readouterr().err


def test_a_preset_and_a_backend_are_taken_from_the_file_or_the_options(
    kept: Path, tmp_path: Path, ray_cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "flow.toml").write_text("preset = 'fast'\nbackend = 'numba'\nresize = 'none'\nwarps = 1\n")
    args = ["--config", str(tmp_path / "flow.toml"), "--manifest", str(kept / "manifest.parquet"), "--output"]
    assert extract_flow.cli([*args, str(tmp_path / "set")]) == 0
    printed = capsys.readouterr().out
    assert "(TV-L1 fast but warps = 1, recipe " in printed
    assert "solver: numba on CPUs" in printed
    assert "TV-L1, own parameters, solved by numba 0." in printed
    assert extract_flow.cli([*args, str(tmp_path / "set"), "--backend", "opencv"]) == 2
    assert "level_epsilon" in capsys.readouterr().err
    assert extract_flow.cli([*args, str(tmp_path / "set"), "--preset", "wide"]) == 2
    assert "was made with another recipe" in capsys.readouterr().err
    assert extract_flow.cli([*args, str(tmp_path / "set"), "--backend", "torch"]) == 0
    assert "nothing to do, the set was complete" in capsys.readouterr().out


def test_a_training_keeps_what_later_programs_need(kept: Path) -> None:
    folder = kept / "runs" / "rgb"
    names = {"best.pt", "state.pt", "history.json", "mlflow.json", "recipe.toml", "report"}
    assert names <= {path.name for path in folder.iterdir()}
    assert "report.md" in {path.name for path in (folder / "report").iterdir()}
    assert (kept / "runs" / "mlflow.db").exists()


@pytest.mark.parametrize("views", ["single", "multi", None])
def test_two_streams_are_evaluated_and_fused(
    kept: Path, tmp_path: Path, views: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = []
    for kind in ("rgb", "flow"):
        args = [str(kept / "runs" / kind / "best.pt"), "--output", str(tmp_path / kind)]
        assert evaluate.cli(args if views is None else [*args, "--views", views]) == 0
        tables.append(str(tmp_path / kind / "scores.parquet"))
        assert (tmp_path / kind / "report" / "report.md").exists()
    scores = read_scores(tables[0])
    assert set(scores.num_clips.tolist()) == {1 if views == "single" else 2}  # 9 frames hold two clips of 4
    assert scores.about["views"] == f"{views or 'multi'}-x10"  # the recipe's
    assert scores.about["num_views"] == 10 * scores.num_clips.sum()
    assert fuse.cli([*tables, "--weights", "1", "2", "--output", str(tmp_path / "fused")]) == 0
    fused = read_scores(str(tmp_path / "fused" / "scores.parquet"))
    assert fused.video_ids == scores.video_ids
    assert fused.about["weights"] == [1.0, 2.0]
    printed = capsys.readouterr().out
    assert f"views: {'the centre clip' if views == 'single' else 'all clips without overlap'} x 10 crops" in printed
    words = [line.split() for line in printed.splitlines() if line.startswith(("rgb ", "flow ", "fused "))]
    assert [first for first, second, *_ in words if second.isdigit()][-3:] == ["rgb", "flow", "fused"]
    assert (tmp_path / "fused" / "report" / "report.md").exists()


@pytest.fixture(scope="module")
def three(work: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """By modality the checkpoint of a training, and the tables of its validation and test parts; poses are a third."""
    folder = tmp_path_factory.mktemp("three")
    made = make_set(read_manifest(str(work / "manifest.parquet")), folder / "set", PoseRecipe(resize="none"))
    (folder / "pose.toml").write_text(RECIPE_OF_PROGRAMS.format(shards=made.uri))
    found = {}
    for kind in ("rgb", "flow", "pose"):
        run = work / "runs" / kind if kind != "pose" else folder / "run"
        if kind == "pose":
            with pytest.MonkeyPatch.context() as patch:
                train_here(patch)
                assert train.cli([str(folder / "pose.toml"), "--output", str(run)]) == 0
        found[kind] = {"checkpoint": str(run / "best.pt")}
        for part in ("val", "test"):
            args = [str(run / "best.pt"), "--part", part, "--views", "single", "--output", str(folder / kind / part)]
            assert evaluate.cli(args) == 0
            found[kind][part] = str(folder / kind / part / "scores.parquet")
    return found


def test_three_streams_are_measured_in_every_subset(
    three: dict[str, dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = [stream["test"] for stream in three.values()]
    assert fuse.cli([*tables, "--output", str(tmp_path / "fused")]) == 0
    printed = capsys.readouterr().out
    rows = ["rgb", "flow", "pose", "rgb + flow", "rgb + pose", "flow + pose", "fused"]
    assert [line[:11].strip() for line in printed.splitlines()[1:8]] == rows
    assert "weights: rgb 1, flow 1, pose 1" in printed
    report = (tmp_path / "fused" / "report" / "report.md").read_text()
    assert "Fusion of 3 streams" in report
    assert all(f"| {name} |" in report for name in rows)
    fused = read_scores(str(tmp_path / "fused" / "scores.parquet"))
    assert fused.about["modality"] == "rgb+flow+pose"
    (uri,) = re.findall(r"mlflow ui --backend-store-uri (\S+)", printed)
    (run,) = MlflowClient(uri).search_runs(["1"], f"tags.run_folder = '{tmp_path}/fused'")
    assert {f"streams/{name.replace(' + ', ' and ')}/top1" for name in rows[:-1]} <= run.data.metrics.keys()
    assert run.data.params["weight/pose"] == "1.0"


def test_weights_of_three_streams_are_found_on_validation(
    three: dict[str, dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = {part: [stream[part] for stream in three.values()] for part in ("val", "test")}
    assert fuse.cli([*tables["test"], "--fit", *tables["val"], "--output", str(tmp_path / "fitted")]) == 0
    assert "the weights are the best of 231 that add up to 1 in steps of 0.05, on " in capsys.readouterr().out
    weights = read_scores(str(tmp_path / "fitted" / "scores.parquet")).about["weights"]
    assert sum(weights) == pytest.approx(1)
    assert [20 * weight for weight in weights] == pytest.approx([round(20 * weight) for weight in weights])


def test_a_stream_of_poses_is_looked_at_and_registered(
    three: dict[str, dict[str, str]], kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What no program can make of new videos is refused in a line; the model's page says what it takes."""
    checkpoint = three["pose"]["checkpoint"]
    assert attend.cli([checkpoint, "--output", "pose.png"]) == 0
    assert height("pose.png") > 100
    assert register.cli([checkpoint, "--name", "poses"]) == 0
    (uri,) = re.findall(r"MLFLOW_TRACKING_URI=(\S+)", capsys.readouterr().out)
    version = MlflowClient(uri).get_model_version("poses", "1")
    assert version.tags["modality"] == "pose"
    assert "resnet18 + bert on pose" in (version.description or "")
    assert "**Input**: no videos, as pose that somebody else has drawn" in (version.description or "")
    assert predict.cli([str(kept / "videos" / "class0" / "v00.mp4"), "--checkpoint", checkpoint]) == 2
    assert "takes pose, which cannot be made from a video here" in capsys.readouterr().err


def test_attention_is_drawn_and_said(kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rgb, flow = (str(kept / "runs" / kind / "best.pt") for kind in ("rgb", "flow"))
    assert attend.cli([rgb, "--set", str(kept / "sets" / "rgb"), "--video", "class0/v00", "class1/v01"]) == 0
    printed = capsys.readouterr().out
    assert "class0/v00: taken for class" in printed
    assert "  layer 1: " in printed
    assert f"drawn to {tmp_path}/attention.png" in printed
    drawn = height("attention.png")
    assert attend.cli([flow, "--videos", "1", "--views", "multi", "--output", "f.png", "--json"]) == 0
    clips = json.loads(capsys.readouterr().out)["clips"]
    assert [clip["images"] for clip in clips] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert height("f.png") == pytest.approx(drawn, rel=0.1)


def test_running_again_does_nothing_twice(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards = {path: path.stat().st_mtime_ns for path in (kept / "sets").rglob("*.*")}
    common = ["--manifest", str(kept / "manifest.parquet"), "--resize", "none", "--videos-per-shard", "10"]
    assert extract_frames.cli([*common, "--output", str(kept / "sets" / "rgb")]) == 0
    assert "nothing to do, the set was complete" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (kept / "sets").rglob("*.*")} == shards


def test_too_many_rejected_videos_are_a_failure_of_their_own(
    kept: Path, tmp_path: Path, ray_cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    make_videos(tmp_path / "videos", [4, 4, 4])
    (tmp_path / "videos" / "class1" / "v01.mp4").write_bytes(b"no video")
    args = ["folder", str(tmp_path / "videos"), "--output", str(tmp_path / "m")]
    assert index_videos.cli([*args, "--max-problems", "1"]) == 0
    common = ["--manifest", str(tmp_path / "m"), "--output", str(tmp_path / "set"), "--resize", "none"]
    capsys.readouterr()
    assert extract_frames.cli(common) == 1
    printed = capsys.readouterr().out
    assert "rejected class1/v01: manifest: " in printed
    assert "failed: 1 rejected are 33.3% of the videos, max_rejected allows 1.0%" in printed
    assert extract_frames.cli([*common, "--max-rejected", "0.5"]) == 0
