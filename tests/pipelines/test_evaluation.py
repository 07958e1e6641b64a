"""Evaluation from the command line, on recognizers of random weights: views, workers, averages, splits."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kinebert.pipelines import average, evaluate, fuse
from kinebert.preprocessing.config import to_plain
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.evaluation.evaluate import read_scores
from kinebert.training.evaluation.view_scores import read_views
from kinebert.training.recipe.train import ProtocolRecipe
from tests.helpers.checkpoints import make_checkpoint
from tests.helpers.sets import make_rows, make_set


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shard sets of both modalities with two splits, and a checkpoint for each: the BERT paper's protocol."""
    folder = tmp_path_factory.mktemp("evaluation")
    rows = make_rows(folder / "videos", [9, 12, 6, 14, 4, 11, 9, 17, 10, 8, 13, 9])
    rows = [replace(row, splits={**row.splits, "split2": ("train", "test")[i % 2]}) for i, row in enumerate(rows)]
    protocol = ProtocolRecipe(clips="eccv2020", crops=10)
    for name, recipe in (("rgb", FrameRecipe(resize="none")), ("flow", FlowRecipe(resize="none"))):
        shards = make_set(rows, folder / "sets" / name, recipe, solver=FlowSolver(backend="numba"))
        make_checkpoint(folder / "runs" / name / "best.pt", shards, protocol)
    return folder


@pytest.fixture
def kept(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder, for reading; the present folder is an empty one."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    return work


def test_the_recipe_s_protocol_is_what_is_done(kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = str(kept / "runs" / "rgb" / "best.pt")
    assert evaluate.cli([checkpoint, "--part", "val", "--output", "scores"]) == 0
    printed = capsys.readouterr().out
    assert "views: the clips of the BERT paper's program x 10 crops, mean of the logits" in printed
    assert "note: split1/val chose this checkpoint" in printed
    scores, views = read_scores("scores/scores.parquet"), read_views("scores/views.parquet")
    assert (scores.about["views"], scores.about["num_views"]) == ("eccv2020-x10", len(views.videos))
    lengths = {video.video_id: video.num_images for video in ShardSet.open(str(kept / "sets" / "rgb")).videos}
    by_hand = {9: 1, 6: 1, 4: 1, 12: 2, 14: 2, 11: 2, 17: 3, 10: 1, 8: 1, 13: 2}  # ceil((N - 2) / 4) - 1, at least 1
    assert scores.num_clips.tolist() == [by_hand[lengths[name]] for name in scores.video_ids]
    written = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert written["about"]["protocol"] == to_plain(ProtocolRecipe(clips="eccv2020", crops=10))
    top1 = written["metrics"]["top1"]
    assert top1["low"] <= top1["value"] == scores.metrics().top[1] <= top1["high"]
    assert set(written["metrics"]) == {"top1", "top3", "top5", "mean_class", "ece"}
    assert "10 crops" in (tmp_path / "scores" / "report" / "report.md").read_text()


@pytest.mark.parametrize(
    ("options", "name", "views"),
    [
        (["--views", "single", "--crops", "1"], "single", 1),
        (["--views", "5", "--crops", "3", "--scale", "1", "--average", "softmax"], "5-x3-softmax-scale1", 15),
    ],
)
def test_another_protocol(kept: Path, options: list[str], name: str, views: int) -> None:
    copy = shutil.copytree(kept / "runs" / "rgb", "run")
    assert evaluate.cli([f"{copy}/best.pt", "--part", "val", *options]) == 0
    scores = read_scores(f"run/split1-val-{name}/scores.parquet")
    assert scores.about["num_views"] == views * len(scores.video_ids)


@pytest.mark.parametrize("several", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_every_view_once_and_the_same_on_any_number_of_workers(
    several: int, kept: Path, tmp_path: Path, ray_cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(kept / "runs" / "flow" / "best.pt")
    tables = {}
    for workers in (1, several):
        options = ["--part", "val", "--batch", "3", "--output", str(tmp_path / str(workers))]
        assert evaluate.cli([checkpoint, *options, "--workers", str(workers)]) == 0
        tables[workers] = read_views(f"{workers}/views.parquet")
    part = [video.video_id for video in ShardSet.open(str(kept / "sets" / "flow")).select("split1", "val")]
    for views in tables.values():
        assert views.video_ids == part
        keys = list(zip(views.videos.tolist(), views.clips.tolist(), views.crops.tolist(), strict=True))
        assert len(set(keys)) == len(keys) == 10 * len({key[:2] for key in keys})
        # the same batches everywhere; a worker may compute with another number of threads
        np.testing.assert_allclose(views.logits, tables[1].logits, rtol=1e-5, atol=1e-6)


def test_several_checkpoints_end_in_the_mean_over_their_splits(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = ShardSet.open(str(kept / "sets" / "rgb"))
    checkpoints = [
        make_checkpoint(tmp_path / f"split{i}" / "best.pt", shards, ProtocolRecipe(), f"split{i}", i) for i in (1, 2)
    ]
    assert evaluate.cli([*checkpoints, "--part", "train"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("split  "))
    rows = [line.split() for line in lines[start + 1 : start + 4]]
    assert [row[0] for row in rows] == ["split1/train", "split2/train", "mean"]
    assert int(rows[2][1]) == int(rows[0][1]) + int(rows[1][1])
    stored = [str(tmp_path / f"split{i}" / f"split{i}-train-single" / "scores.parquet") for i in (1, 2)]
    assert average.cli(stored) == 0
    assert capsys.readouterr().out.splitlines()[1:] == lines[start + 1 : start + 4]
    assert float(rows[2][2]) == pytest.approx((float(rows[0][2]) + float(rows[1][2])) / 2, abs=0.11)


def test_averaging_anew(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, part = str(kept / "runs" / "rgb" / "best.pt"), ["--part", "val"]
    assert evaluate.cli([checkpoint, *part, "--output", "ten"]) == 0
    assert evaluate.cli([checkpoint, *part, "--crops", "1", "--average", "softmax", "--output", "one"]) == 0
    assert average.cli(["ten/views.parquet", "--crops", "0", "--average", "softmax"]) == 0
    assert "views: eccv2020-x10-softmax-crops0, " in capsys.readouterr().out
    one, anew = read_scores("one/scores.parquet"), read_scores("averaged/scores.parquet")
    np.testing.assert_allclose(anew.scores, one.scores, rtol=1e-4)  # scored in batches of other views
    assert average.cli(["ten/views.parquet", "one/views.parquet"]) == 2
    assert "split1/val was given twice" in capsys.readouterr().err
    assert average.cli(["one/scores.parquet"]) == 2
    assert "holds scores of videos, whose views are averaged already" in capsys.readouterr().err
    assert average.cli(["ten/views.parquet", "--clips", "9"]) == 2
    assert "there is no clip 9: clips are numbered from 0 to" in capsys.readouterr().err


def test_three_streams_are_fused_with_every_subset(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = {name: ShardSet.open(str(kept / "sets" / name)) for name in ("rgb", "flow")}
    tables: dict[str, list[str]] = {"val": [], "train": []}
    for i, name in enumerate(("rgb", "flow", "flow")):
        checkpoint = make_checkpoint(tmp_path / str(i) / "best.pt", sets[name], ProtocolRecipe(), seed=i)
        for part, paths in tables.items():
            assert evaluate.cli([checkpoint, "--part", part]) == 0
            paths.append(str(tmp_path / str(i) / f"split1-{part}-single" / "scores.parquet"))
    capsys.readouterr()
    args = [*tables["train"], "--tracking-uri", str(tmp_path / "mlflow.db")]
    assert fuse.cli([*args, "--method", "softmax", "--fit", *tables["val"], "--output", "fused"]) == 0
    printed, problems = capsys.readouterr()
    assert "out of reach" not in problems  # MLflow has taken every name
    names = ["rgb", "flow 2", "flow 3", "rgb + flow 2", "rgb + flow 3", "flow 2 + flow 3", "fused"]
    assert [line[:15].rstrip() for line in printed.splitlines()[1:8]] == names
    assert "mean of the probabilities, weights fitted on validation; weights: rgb " in printed
    assert "(McNemar, exact)" in printed
    fused = read_scores("fused/scores.parquet")
    assert sum(fused.about["weights"]) == pytest.approx(1)
    np.testing.assert_allclose(fused.scores.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(fused.probabilities().sum(axis=1), 1)
    assert f"temperature {fused.temperature:.3g}, chosen on " in printed
    assert fuse.cli([*args, "--output", "sums"]) == 0
    printed = capsys.readouterr().out
    sums = read_scores("sums/scores.parquet")
    known = json.loads(Path("sums/metrics.json").read_text())["about"]["calibration"]
    assert (sums.scale, known["chosen_on"], known["temperature"]) == ("sums", "split1/val", sums.temperature)
    assert f"videos of split1/val (ECE there {100 * known['ece_before']:.1f} before" in printed
    np.testing.assert_allclose(sums.probabilities().sum(axis=1), 1)
    assert (sums.probabilities().argmax(axis=1) == sums.scores.argmax(axis=1)).all()
    assert "chosen on" in Path("sums/report/report.md").read_text()
    assert "## Every subset of the streams" in (tmp_path / "fused" / "report" / "report.md").read_text()
    assert fuse.cli([*args, "--fit", *tables["train"]]) == 2
    assert "weights that have seen the test measure nothing" in capsys.readouterr().err
    assert fuse.cli([*args, "--fit", *tables["val"][::-1]]) == 2
    assert "stream 1 is of modality rgb, its validation scores of flow" in capsys.readouterr().err
    assert fuse.cli([*args, "--fit", tables["val"][0]]) == 2
    assert "--fit takes one table per stream (3)" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "1" / "split1-val-single")
    assert fuse.cli([*args, "--output", "sums"]) == 0
    assert "not calibrated: no scores of flow 2 on split1/val beside the checkpoint" in capsys.readouterr().out
    assert read_scores("sums/scores.parquet").about["calibration"]["chosen_on"] == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--views", "two"], "views must be single, first, multi, eccv2020 or a number of clips, got 'two'"),
        (["--views", "0"], "test.clips must be at least 1, got 0"),
        (["--step", "2", "--views", "5"], "test.step is for test.clips = multi, which is 5"),
        (["--workers", "0"], "workers must be at least 1"),
        (["--workers", "2", "--device", "cuda:0"], "workers choose their own GPUs"),
        (["runs/other/best.pt", "--output", "x"], "--output is for one checkpoint"),
    ],
)
def test_mistakes(kept: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.cli([str(kept / "runs" / "rgb" / "best.pt"), *options]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
