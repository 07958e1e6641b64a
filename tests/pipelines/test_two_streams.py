"""RGB and flow as one network through every program: trained, scored, looked at, asked of a video and registered."""

import json
import re
from pathlib import Path

import pytest
from mlflow import MlflowClient

from kinebert.pipelines import attend, evaluate, predict, register, train
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.tvl1 import TvL1Params
from kinebert.training.evaluation.evaluate import read_scores
from tests.helpers.sets import make_rows, make_set, small_recipe
from tests.helpers.without_ray import train_here

RECIPES = (FrameRecipe(resize="none"), FlowRecipe(resize="none", tvl1=TvL1Params(warps=1, outer_iterations=1)))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both sets, and a network trained on them together."""
    folder = tmp_path_factory.mktemp("two")
    rows = make_rows(folder / "videos", (9, 12, 8, 15, 10, 9, 11, 13, 9))
    for recipe in RECIPES:
        make_set(rows, folder / "sets" / recipe.modality, recipe)
    text = small_recipe(folder / "sets" / "rgb", epochs=1, head="bert_tokens")
    (folder / "two.toml").write_text(text.replace("[data]", '[data]\nmodality = "rgb+flow"'))
    beside = f'data.beside=["{folder / "sets" / "flow"}"]'
    with pytest.MonkeyPatch.context() as patch:
        train_here(patch)
        assert train.cli([str(folder / "two.toml"), "--set", beside, "--output", str(folder / "run")]) == 0
    return folder


def test_programs_take_it_like_any_other(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint, (rgb, flow) = str(work / "run" / "best.pt"), (str(work / "sets" / kind) for kind in ("rgb", "flow"))
    assert evaluate.cli([checkpoint, "--part", "val", "--views", "multi"]) == 0
    scores = read_scores(str(work / "run" / "split1-val-multi" / "scores.parquet"))
    assert scores.about["modality"] == "rgb+flow"
    again = ["--shards", rgb, "--beside", flow, "--output", "again"]
    assert evaluate.cli([checkpoint, "--part", "val", "--views", "multi", *again]) == 0
    assert (read_scores("again/scores.parquet").scores == scores.scores).all()
    capsys.readouterr()
    assert evaluate.cli([checkpoint, "--part", "val", "--shards", rgb]) == 2
    assert "Give a set of rgb shards, and of flow beside it (--beside)" in capsys.readouterr().err
    assert attend.cli([checkpoint, "--json", "--output", "a.png"]) == 0
    (clip,) = json.loads(capsys.readouterr().out)["clips"]
    assert [layer["name"] for layer in clip["layers"]] == ["rgb, layer 1", "flow, layer 1"]
    assert predict.cli([str(work / "videos" / "class0" / "v00.mp4"), "--checkpoint", checkpoint, "--output", "p"]) == 0
    assert len(json.loads(Path("p/predictions.json").read_text())["videos"]) == 1


@pytest.mark.slow  # exports the network
def test_mlflow_has_both_sets_and_the_model(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert register.cli([str(work / "run" / "best.pt"), "--name", "two"]) == 0
    (uri,) = re.findall(r"MLFLOW_TRACKING_URI=(\S+)", capsys.readouterr().out)
    client = MlflowClient(uri)
    version = client.get_model_version("two", "1")
    assert version.tags["modality"] == "rgb+flow"
    run = client.get_run(str(version.run_id))
    assert run.inputs is not None
    inputs = {(one.dataset.name, one.tags[0].value) for one in run.inputs.dataset_inputs}
    assert inputs >= {
        (f"{kind} split1/{part}", what)
        for kind in ("rgb", "flow")
        for part, what in (("train", "training"), ("val", "validation"))
    }


def test_a_dry_run_tells_of_both(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    beside = f'data.beside=["{work / "sets" / "flow"}"]'
    assert train.cli([str(work / "two.toml"), "--set", beside, "--output", str(work / "new"), "--dry-run"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"{work}/sets/rgb + {work}/sets/flow: rgb+flow, 2 classes" in printed
    assert "10 shards of" in printed
