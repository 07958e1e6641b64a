"""The way from a folder of videos to a fused result, as a user goes it; and what every mistake is told."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from kinebert.pipelines import (
    attend,
    evaluate,
    export_frames,
    extract_flow,
    extract_frames,
    fuse,
    index_videos,
    show,
    train,
    verify,
)
from kinebert.pipelines import cli as kinebert
from kinebert.training.evaluation.evaluate import read_scores
from tests.helpers.paths import ROOT
from tests.helpers.requirements import missing
from tests.helpers.sets import make_videos, small_recipe

RECIPE = f"""
{small_recipe("{shards}", epochs=1, head="bert")}
[test]
clips = "multi"
crops = 10
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, ray_cluster: Any) -> Path:
    """A folder in which the programs have run, from videos to a fused result."""
    folder = tmp_path_factory.mktemp("work")
    make_videos(folder / "videos", [9] * 20)
    manifest = str(folder / "manifest.parquet")
    assert index_videos.cli(["folder", str(folder / "videos"), "--output", manifest]) == 0
    common = ["--manifest", manifest, "--resize", "none", "--videos-per-shard", "10"]
    for program, kind, more in ((extract_frames, "rgb", []), (extract_flow, "flow", ["--backend", "numba"])):
        assert program.cli([*common, *more, "--output", str(folder / "sets" / kind)]) == 0
        recipe = folder / f"{kind}.toml"
        recipe.write_text(RECIPE.format(shards=folder / "sets" / kind))
        assert train.cli([str(recipe), "--output", str(folder / "runs" / kind)]) == 0
    return folder


@pytest.fixture
def kept(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder, for reading; the present folder is an empty one."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    return work


def test_sets_are_verified_exported_and_shown(kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, images in (("rgb", 180), ("flow", 160)):
        assert verify.cli([str(kept / "sets" / kind)]) == 0
        printed = capsys.readouterr().out
        assert f"whole: 20 videos, {images} images in 2 shards" in printed
        assert ("TV-L1, preset classic, solved by numba 0." in printed) is (kind == "flow")
        assert export_frames.cli([str(kept / "sets" / kind), "--output", "pictures"]) == 0
    assert len(list((tmp_path / "pictures").rglob("*.jpg"))) == 20 * (9 + 2 * 8)
    assert show.cli([str(kept / "sets" / "flow"), "class0/v00"]) == 0
    assert cv2.imread("class0_v00.png").shape[0] > 100
    printed = capsys.readouterr().out
    assert "sets/flow and " in printed  # the frames beside it were found
    assert "TV-L1, preset classic, solved by numba 0." in printed
    assert show.cli([str(kept / "sets" / "rgb"), "class0/v00", "--output", "x.png", "--images", "2"]) == 0
    damaged = shutil.copytree(kept / "sets" / "rgb", tmp_path / "damaged")
    (damaged / "notes.txt").write_text("mine")
    assert verify.cli([str(damaged), "--quick"]) == 1
    assert "notes.txt: does not belong to the set" in capsys.readouterr().out


def test_drawn_poses_are_a_stream_of_their_own(
    kept: Path, tmp_path: Path, ray_cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    poses = str(tmp_path / "poses")
    args = ["--manifest", str(kept / "manifest.parquet"), "--resize", "none", "--output", poses]
    assert extract_frames.cli([*args, "--modality", "pose"]) == 0
    assert verify.cli([poses]) == 0
    assert extract_frames.cli(args) == 2
    assert "modality: 'rgb' != 'pose'" in capsys.readouterr().err
    (tmp_path / "recipe.toml").write_text(RECIPE.format(shards=poses))
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


def test_attention_is_drawn_and_said(kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rgb, flow = (str(kept / "runs" / kind / "best.pt") for kind in ("rgb", "flow"))
    assert attend.cli([rgb, "--set", str(kept / "sets" / "rgb"), "--video", "class0/v00", "class1/v01"]) == 0
    printed = capsys.readouterr().out
    assert "class0/v00: taken for class" in printed
    assert "  layer 1: " in printed
    assert f"drawn to {tmp_path}/attention.png" in printed
    height = cv2.imread("attention.png").shape[0]
    assert attend.cli([flow, "--videos", "1", "--views", "multi", "--output", "f.png", "--json"]) == 0
    clips = json.loads(capsys.readouterr().out)["clips"]
    assert [clip["images"] for clip in clips] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert cv2.imread("f.png").shape[0] == pytest.approx(height, rel=0.1)


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


Program = Callable[[list[str]], int]


def refused(program: Program, args: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Run a program and hold it to the rules of a mistake: status 2, one line that says what and what to do."""
    capsys.readouterr()
    status = program(args)
    printed = capsys.readouterr()
    assert status == 2, printed
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1, printed.err
    assert words in printed.err


def files(folder: Path) -> dict[str, bytes]:
    """Every file with its content, and every folder."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"folder" for p in folder.rglob("*")}


def no_file_in(folder: Path) -> bool:
    """An empty folder may have been made, to see whether it can be."""
    return not any(path.is_file() for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("program", "args", "words"),
    [
        (index_videos.cli, ["folder", "{tmp}", "--output", "{tmp}/m"], "no video"),
        (extract_frames.cli, ["--manifest", "{tmp}/absent", "--output", "{tmp}/s"], "there is no such manifest"),
        (extract_frames.cli, ["--manifest", "{work}/rgb.toml", "--output", "{tmp}/s"], "not a Parquet file"),
        (extract_frames.cli, ["--config", "{tmp}/absent.toml"], "absent.toml: there is no such recipe file"),
        (extract_frames.cli, ["--config"], "--config needs the path of a TOML file"),
        (extract_frames.cli, ["{m}", "--output", "/proc/kinebert"], "/proc/kinebert: cannot write to this folder"),
        (extract_frames.cli, ["{m}", "--output", "{tmp}/s", "--workers", "9999"], "workers = 9999, but this machine"),
        (extract_frames.cli, ["{m}", "--output", "{tmp}/s", "--max-rejected", "2"], "between 0 and 1, got 2"),
        (extract_frames.cli, ["{m}", "--output", "{tmp}/s", "--width", "3"], "width must be at least 16"),
        (extract_flow.cli, ["{m}", "--output", "{work}/sets/flow", "--bound", "15"], "bound: 15.0 != 20.0"),
        (extract_flow.cli, ["{m}", "--output", "{work}/sets/rgb"], "modality: 'flow' != 'rgb'"),
        (extract_flow.cli, ["{m}", "--output", "{tmp}/s", "--preset", "fast", "--backend", "opencv"], "level_epsilon"),
        (
            extract_flow.cli,
            ["{m}", "--output", "{tmp}/s", "--gpus-per-task", "0.5", "--backend", "numba"],
            "gpus_per_task = 0.5, but backend = numba uses no GPU",
        ),
        (train.cli, ["{tmp}/absent.toml"], "there is no such recipe file"),
        (
            train.cli,
            ["{work}/rgb.toml", "--output", "{tmp}/r", "--set", "optim.rl=1"],
            "unknown key 'rl' in OptimRecipe",
        ),
        (
            train.cli,
            ["{work}/rgb.toml", "--output", "{tmp}/r", "--set", "data.split=two"],
            "no split 'two'. There are: ",
        ),
        (train.cli, ["{work}/rgb.toml", "--output", "{tmp}/r", "--set", "model.head=brt"], "'brt'"),
        (train.cli, ["{work}/rgb.toml", "--output", "{tmp}/r", "--set", "data.shards={tmp}/n"], "expected a finished"),
        (train.cli, ["{work}/rgb.toml", "--output", "{tmp}/r", "--set", "batch_size=3"], "batch_size 3 cannot be cut"),
        (train.cli, ["{work}/rgb.toml", "--output", "{work}/runs/rgb", "--set", "seed=7"], "seed: "),
        (train.cli, ["{work}/rgb.toml", "--output", "/proc/kinebert"], "/proc/kinebert: cannot write to this folder"),
        (
            train.cli,
            ["{work}/rgb.toml", "--output", "{tmp}/r", "--tracking-uri", "http://127.0.0.1:9"],
            "http://127.0.0.1:9: the tracking server does not answer",
        ),
        (evaluate.cli, ["{tmp}/absent.pt"], "absent.pt"),
        (evaluate.cli, ["{work}/rgb.toml"], "rgb.toml: not a kinebert checkpoint"),
        (evaluate.cli, ["{work}/runs/rgb/best.pt", "--split", "two"], "no split 'two'. There are: split1"),
        (evaluate.cli, ["{work}/runs/rgb/best.pt", "--part", "tset"], "has no 'tset' videos. It has: "),
        (evaluate.cli, ["{work}/runs/rgb/best.pt", "--shards", "{work}/sets/flow"], "{work}/sets/flow"),
        (evaluate.cli, ["{work}/runs/rgb/best.pt", "--device", "gpu"], "device must be auto, cpu"),
        (attend.cli, ["{work}/runs/rgb/best.pt", "--video", "class0/v99"], "there is no video 'class0/v99'"),
        (attend.cli, ["{work}/runs/rgb/best.pt", "--video", "class0/v00", "--videos", "2"], "not both"),
        (attend.cli, ["{work}/runs/rgb/best.pt", "--set", "{work}/sets/flow"], "{work}/sets/flow"),
        (fuse.cli, ["{work}/rgb.toml", "{work}/flow.toml", "--output", "{tmp}/f"], "not a Parquet file"),
        (fuse.cli, ["{tmp}/absent", "{tmp}/other", "--output", "{tmp}/f"], "there is no such file"),
        (verify.cli, ["{tmp}"], "expected a finished shard set"),
        (show.cli, ["{work}/sets/rgb", "class0/v99"], "there is no video 'class0/v99'. There are 20, such as"),
        (show.cli, ["{work}/sets/rgb", "class0/v00", "--with", "{work}/sets/rgb"], "--with takes the other kind"),
        (export_frames.cli, ["{work}/sets/rgb", "--output", "s3://bucket/x"], "written to a local folder"),
    ],
)
def test_a_mistake_ends_in_one_line_and_writes_nothing(
    program: Program,
    args: list[str],
    words: str,
    kept: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "kinebert.orchestration.cluster.ray.is_initialized", lambda: False
    )  # the tests' own does not count
    monkeypatch.setattr("kinebert.orchestration.cluster.ray.init", lambda **_: pytest.fail("a cluster was started"))
    before = files(kept)
    filled = [
        arg.format(work=kept, tmp=tmp_path)
        for given in args
        for arg in (["--manifest", str(kept / "manifest.parquet"), "--resize", "none"] if given == "{m}" else [given])
    ]
    refused(program, filled, words.format(work=kept), capsys)
    assert files(kept) == before
    assert no_file_in(tmp_path)


def test_a_checkpoint_of_other_classes_and_a_set_of_another_recipe(
    kept: Path, tmp_path: Path, ray_cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    make_videos(tmp_path / "videos", [9] * 10, classes=3)
    manifest, checkpoint = str(tmp_path / "m"), str(kept / "runs" / "rgb" / "best.pt")
    assert index_videos.cli(["folder", str(tmp_path / "videos"), "--output", manifest]) == 0
    common = ["--manifest", manifest, "--resize", "none", "--output"]
    assert extract_frames.cli([*common, str(tmp_path / "three")]) == 0
    refused(evaluate.cli, [checkpoint, "--shards", str(tmp_path / "three")], "3", capsys)
    other = ["--manifest", str(kept / "manifest.parquet"), "--resize", "none", "--output"]
    assert extract_frames.cli([*other, str(tmp_path / "low"), "--jpeg-quality", "60"]) == 0
    refused(evaluate.cli, [checkpoint, "--shards", str(tmp_path / "low")], "jpeg_quality", capsys)
    assert [path.name for path in (kept / "runs" / "rgb").iterdir() if path.name.startswith("split1-")] == []


def test_a_full_disk_is_said_in_one_line_and_leaves_no_half_file(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    rgb, checkpoint = str(kept / "sets" / "rgb"), str(kept / "runs" / "rgb" / "best.pt")
    space = "no space is left on the device. Free some, or choose another place."
    for program, args in (
        (index_videos.cli, ["folder", str(kept / "videos"), "--output", str(tmp_path / "m")]),
        (extract_frames.cli, ["--manifest", str(kept / "manifest.parquet"), "--output", str(tmp_path / "set")]),
        (train.cli, [str(kept / "rgb.toml"), "--output", str(tmp_path / "run")]),
        (evaluate.cli, [checkpoint, "--output", str(tmp_path / "scores")]),
        (export_frames.cli, [rgb, "--output", str(tmp_path / "pictures")]),
        (show.cli, [rgb, "class0/v00", "--output", str(tmp_path / "sheet.png")]),
    ):
        refused(program, args, space, capsys)
    assert no_file_in(tmp_path)


def test_wrong_options_are_explained_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    for program, args in (
        (extract_frames.cli, ["--outptu", "x"]),
        (train.cli, []),
        (verify.cli, ["--thread", "1", "x"]),
    ):
        with pytest.raises(SystemExit) as stopped:
            program(args)
        assert stopped.value.code == 2
        assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("name", list(kinebert.PROGRAMS))
def test_every_program_explains_itself(name: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("sys.argv", ["kinebert", name, "--help"])
    with pytest.raises(SystemExit) as stopped:
        kinebert.main()
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert f"kinebert {name}" in text
    assert (ROOT / "pipelines" / f"{kinebert.PROGRAMS[name][0]}.py").exists()


def test_the_one_command_lists_the_programs(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    for args, status in ((["--help"], 0), ([], 2), (["trian"], 2)):
        monkeypatch.setattr("sys.argv", ["kinebert", *args])
        assert kinebert.main() == status
    printed = capsys.readouterr()
    assert all(name in printed.out for name in kinebert.PROGRAMS)
    assert printed.err.startswith("error: there is no program 'trian'. ")
    assert "train" in printed.err


def test_help_of_the_installed_command_takes_no_cluster_and_little_time(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("kinebert")
    if not command.exists():
        missing("installed", f"{command} is not there")
    done = subprocess.run([command, "--help"], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "extract-frames" in done.stdout
