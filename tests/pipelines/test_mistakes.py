"""What every mistake is told: one line that says what is wrong and what to do, status 2, and nothing is written."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
from tests.helpers.sets import make_videos

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
        (
            train.cli,
            ["{work}/rgb.toml", "--output", "{tmp}/r", "--dry-run", "--set", "data.split=two"],
            "no split 'two'. There are: ",
        ),
        (train.cli, ["{work}/rgb.toml", "--output", "{work}/runs/rgb", "--dry-run", "--new"], "choose another output"),
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
