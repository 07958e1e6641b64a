"""docs/comparing.md: its commands run in their order, and its program loads what they registered."""

import os
import re
import shlex
from pathlib import Path

import mlflow
import pytest
import torch

from kinebert.orchestration.tracking.run_params import varied
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.pipelines import compare, register
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.training.evaluation.evaluate import write_scores
from kinebert.training.recipe.train import DataRecipe, ProtocolRecipe, TrainRecipe
from tests.helpers.checkpoints import make_checkpoint
from tests.helpers.compared import MULTI_VIEWS, make_run, make_scores
from tests.helpers.paths import ROOT
from tests.helpers.sets import make_rows, make_set
from tests.helpers.videos import moving_texture, write_video

PAGE = (ROOT / "docs" / "comparing.md").read_text()
COMMANDS = [line for block in re.findall(r"```\n(kinebert.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
SEARCHES, PROGRAM = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
PROGRAMS = {"compare": compare.cli, "register": register.cli}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trainings with two evaluations each, one tested otherwise, a fusion, their MLflow runs, a checkpoint."""
    folder = tmp_path_factory.mktemp("comparing")
    for i, head in enumerate(("tgap", "bert")):
        tables = {
            "split1-test-multi": make_scores(0.6 + 0.2 * i, seed=i),
            "split1-val-single": make_scores(0.7, part="val", protocol=ProtocolRecipe(), seed=i),
        }
        model = {"backbone": "resnet18", "head": head, "width": 0.125}
        run = make_run(folder / "runs" / f"rgb_{head}", tables, {"model": model})
        tracker = Tracker.start(f"sqlite:///{folder}/runs/mlflow.db", "gestures", run.name, {"run_folder": str(run)})
        tracker.artifact(run / "recipe.toml")
        tracker.artifact(run / "split1-test-multi" / "scores.parquet", "split1-test-multi")
        tracker.metrics({"epoch/val_top1": 0.5, "epoch/val_loss": 1.0}, 1)
        tracker.address.save(str(run))
        tracker.end("FINISHED")
    make_run(folder / "runs" / "one_clip", {"split1-test-single": make_scores(0.7, protocol=ProtocolRecipe())})
    stream = {"modality": "rgb", "views": MULTI_VIEWS.name}
    (folder / "fused").mkdir()
    about = {"weights": [1.0, 1.0], "streams": [stream, stream], "views": None}
    write_scores(str(folder / "fused" / "scores.parquet"), make_scores(0.9, about=about))
    shards = make_set(make_rows(folder / "videos", [9, 9]), folder / "sets" / "rgb", FrameRecipe(resize="none"))
    make_checkpoint(folder / "runs" / "rgb_bert" / "best.pt", shards, MULTI_VIEWS)
    write_video(folder / "new.mp4", moving_texture(9, 64, 48, seed=5))
    return folder


def test_every_command_and_the_program(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(work)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    torch.set_num_threads(1)
    given = [words for line in COMMANDS if (words := shlex.split(line))[0] == "kinebert"]
    assert len(given) == 7
    printed = {}
    for _, program, *args in given:
        assert PROGRAMS[program](args) == 0, args
        printed[" ".join(args)] = capsys.readouterr().out
    for name in ("comparison", "with-fusion", "by-name", "all", "validation", "all-the-same"):
        assert (work / name / "comparison.html").stat().st_size > 20_000
        assert {"runs.csv", "differences.csv", "pairs.csv", "classes.csv"} <= set(os.listdir(work / name))
    assert "rgb_bert - rgb_tgap: +" in printed["runs/rgb_tgap runs/rgb_bert"]
    by_name = printed["rgb_tgap rgb_bert --tracking-uri runs/mlflow.db --output by-name"]
    assert "model.head" in by_name
    assert (work / "all" / "pairs.csv").read_text() == (work / "comparison" / "pairs.csv").read_text()
    assert "ranked all the same: views differ (rgb_tgap: multi, one_clip: single)" in list(printed.values())[-2]
    before = mlflow.get_tracking_uri()
    exec(compile(PROGRAM, "docs/comparing.md", "exec"), {})
    mlflow.set_tracking_uri(before)
    assert "probabilities" in capsys.readouterr().out


def test_the_searches_find_what_they_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "runs").mkdir()
    recipe = TrainRecipe(data=DataRecipe(shards="/sets/flow"))
    for name, source, modality, top1, status in (
        ("a", "train", "rgb", 0.4, "FAILED"),
        ("b", "train", "flow", 0.6, "FINISHED"),
        ("c", "fuse", "rgb+flow", 0.9, "FINISHED"),
    ):
        tags = {"mlflow.source.name": f"kinebert {source}", "modality": modality}
        run = Tracker.start(f"sqlite:///{tmp_path}/runs/mlflow.db", "kinebert", name, tags)
        run.params(varied(recipe))
        run.tested({"top1": top1}, "test", "split1/test, single")
        run.end(status)
    before = mlflow.get_tracking_uri()
    here = SEARCHES.replace("sqlite:///runs", f"sqlite:///{tmp_path}/runs")  # MLflow keeps what it opened, by its name
    exec(compile(here, "docs/comparing.md", "exec"), {})
    mlflow.set_tracking_uri(before)
    found = [line[line.rindex(" [") :].strip() for line in capsys.readouterr().out.splitlines()]
    assert found == ["['c', 'b']", "['b']", "['c']", "['a']"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "give two or more runs, or --experiment NAME"),
        (["runs/rgb_tgap"], "a comparison takes two or more runs, got 1"),
        (["runs/rgb_tgap", "nobody"], "nobody: neither a folder, nor a scores.parquet, nor a run in sqlite:///"),
        (["runs/rgb_tgap", "nobody", "--tracking-uri", "none.db"], "none.db: there is no such MLflow store"),
        (["--experiment", "none"], "there is no experiment 'none'. There are: Default, gestures."),
        (["runs/rgb_tgap", "runs/one_clip", "--on", "x"], "no run has an evaluation 'x'"),
        (["fused", "fused", "--baseline", "x"], "no run is called 'x'. There are: fused (1), fused (2)."),
        (["new.mp4", "fused"], "new.mp4: not a Parquet file"),
    ],
)
def test_mistakes(
    args: list[str], words: str, work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(work)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert compare.cli(args) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
