"""What a Python caller gives becomes the request that a program's options would be."""

from pathlib import Path
from typing import Any

import pytest

import kinebert
from kinebert.orchestration.audience import NOBODY, Terminal
from kinebert.preprocessing.config import to_plain
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.training.recipe.train import DataRecipe, TrainRecipe

RECIPE = (
    'epochs = 3\n[data]\nshards = "sets/rgb"\n[optim]\nlr = 0.5\n[tune.space]\n"optim.lr" = {uniform = [0.1, 0.2]}\n'
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """Requests and audiences, in place of jobs; the present folder is an empty one but for a recipe."""
    found: list[Any] = []
    for place in (
        "jobs.extraction.extract",
        "jobs.extraction.extract_both",
        "jobs.training.train",
        "jobs.dry_run.dry_run",
        "jobs.fusion.fuse",
        "jobs.prediction.predict",
    ):
        monkeypatch.setattr(f"kinebert.orchestration.{place}", lambda *given: found.append(given))
    monkeypatch.setattr("kinebert.orchestration.search.tuning.tune", lambda *given: found.append(given))
    monkeypatch.setattr("kinebert.orchestration.comparing.comparison.compare", lambda *given: found.append(given))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(RECIPE)
    return found


def test_a_recipe_is_a_file_a_mapping_or_a_recipe_and_changes_go_over_it(asked: list[Any]) -> None:
    values = {
        "epochs": 3,
        "data": {"shards": Path("sets/rgb")},
        "optim": {"lr": 0.5},
        "tune": {"space": {"optim.lr": {"uniform": [0.1, 0.2]}}},
    }
    kinebert.train("mine.toml", changes={"optim.lr": 0.25, "data.split": "split2"}, tracking_uri=Path("m.db"))
    kinebert.train(values, Path("runs/x"), verbose=True)
    kinebert.train(TrainRecipe(data=DataRecipe(shards="s"), epochs=4), "runs/y", changes={"data.shards": Path("t")})
    kinebert.tune(Path("mine.toml"))
    kinebert.train("own/flow", changes={"data.shards": "sets/flow"})
    kinebert.dry_run("own/flow", changes={"data.shards": "sets/flow"})
    (file, quiet), (mapping, loud), (recipe, _), (search, _), (named, _), (thought, _) = asked
    assert thought == named
    assert {one.name for one in kinebert.recipes()} >= {"rgb", "own/flow", "eccv2020/table4_rgb_bert"}
    assert (file.recipe.epochs, file.recipe.optim.lr, file.recipe.data.split) == (3, 0.25, "split2")
    assert (file.output, file.source, file.tracking_uri) == ("runs/mine", "mine.toml", "m.db")
    assert (mapping.recipe.data.shards, mapping.recipe.optim.lr, mapping.output) == ("sets/rgb", 0.5, "runs/x")
    assert quiet is NOBODY
    assert isinstance(loud, Terminal)
    assert (recipe.recipe.data.shards, recipe.recipe.epochs) == ("t", 4)
    assert (search.output, search.source) == ("searches/mine", "mine.toml")
    assert (named.output, named.source, named.recipe.data.modality) == ("runs/flow", "own/flow", "flow")
    assert to_plain(search.recipe) == to_plain(mapping.recipe)
    assert values["data"] == {"shards": Path("sets/rgb")}  # what was given is as it was


def test_pictures_are_described_by_a_recipe_or_some_values_of_it(asked: list[Any]) -> None:
    kinebert.extract("m", Path("out"), recipe={"width": 170})
    kinebert.extract("m", "out", modality="flow", recipe={"bound": 15.0, "tvl1": {"warps": 1}}, backend="numba")
    kinebert.extract("m", "out", recipe=FrameRecipe(resize="none"), workers=2)
    rgb, flow, whole = (given[0] for given in asked)
    assert (rgb.recipe, rgb.output) == (FrameRecipe(width=170), "out")
    assert isinstance(flow.recipe, FlowRecipe)
    assert (flow.recipe.bound, flow.recipe.tvl1.warps, flow.backend) == (15.0, 1, "numba")
    assert (whole.recipe.resize, whole.workers) == ("none", 2)
    kinebert.extract_both("m", Path("r"), "f", recipe={"codec": "h264"}, flow_recipe={"width": 170}, workers=2)
    both = asked[-1][0]
    assert (both.manifest, both.frames, both.flow, both.workers) == ("m", "r", "f", 2)
    assert (both.recipe, both.flow_recipe) == (FrameRecipe(codec="h264"), FlowRecipe(width=170))
    with pytest.raises(ConfigError, match="flow_recipe must be one for flow, got one for rgb"):
        kinebert.extract_both("m", "r", "f", flow_recipe=FrameRecipe())
    with pytest.raises(ConfigError, match="unknown key 'widht' .*Did you mean 'width'"):
        kinebert.extract("m", "out", recipe={"widht": 170})


def test_one_or_several_and_texts_or_paths(asked: list[Any]) -> None:
    kinebert.predict(Path("a.mp4"), ["r/best.pt", Path("f/best.pt")], views=5, weights=(1.0, 2.0))
    kinebert.fuse(Path("r/scores.parquet"), "f/scores.parquet", weights=[1, 2], output=Path("o"))
    kinebert.compare("runs/a", Path("runs/b"), output=Path("c"))
    predicted, fused, compared = (given[0] for given in asked)
    assert (predicted.videos, predicted.checkpoint, predicted.views) == (("a.mp4",), ("r/best.pt", "f/best.pt"), "5")
    assert (fused.scores, fused.weights, fused.output) == (("r/scores.parquet", "f/scores.parquet"), (1, 2), "o")
    assert (compared.runs, compared.output) == (("runs/a", "runs/b"), "c")
    with pytest.raises(TypeError, match="unexpected keyword argument 'wieghts'"):
        kinebert.fuse("a", "b", wieghts=(1, 2))
