"""A training as a job: what it returns, what it leaves, what it tells, and that it goes on."""

from pathlib import Path

import pytest

from kinebert.orchestration.jobs.requests import TrainingRequest
from kinebert.orchestration.jobs.training import train
from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.preprocessing import storage
from kinebert.preprocessing.config import load_config
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.folder_lock import held
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.training.recipe.train import DataRecipe, ModelRecipe, TrainRecipe
from tests.helpers.listening import Heard
from tests.helpers.sets import make_rows, make_set
from tests.helpers.without_ray import train_here


@pytest.fixture(scope="module")
def request_for(tmp_path_factory: pytest.TempPathFactory) -> TrainingRequest:
    folder = tmp_path_factory.mktemp("training")
    shards = make_set(make_rows(folder / "videos", [6] * 9), folder / "rgb", FrameRecipe(resize="none"))
    recipe = TrainRecipe(
        data=DataRecipe(shards=shards.uri, clip_length=4, crop_size=32),
        model=ModelRecipe(backbone="resnet18", head="tgap", width=0.125),
        batch_size=6,
        micro_batch=6,
        epochs=1,
    )
    return TrainingRequest(recipe=recipe, source="mine.toml", output=str(folder / "runs" / "rgb"))


def test_a_result_names_all_that_is_kept_and_is_given_again(
    request_for: TrainingRequest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train_here(monkeypatch)
    heard = Heard()
    result = train(request_for, heard)
    folder = Path(result.folder)
    assert load_config(TrainRecipe, folder / "recipe.toml") == result.recipe
    assert (result.checkpoint, result.modality) == (str(folder / "best.pt"), "rgb")
    assert len(result.summary.history) == 1
    assert result.scores.metrics().top[1] == pytest.approx(result.summary.best["val_top1"])
    assert "mine.toml" in Path(result.report).read_text()
    assert RunAddress.load(result.folder) == RunAddress(result.tracking_uri, "kinebert", result.run_id)
    assert f"training resnet18 + tgap on rgb: {folder}" in heard.said
    (warned,) = [text for text in heard.said if text.startswith("warning: ")]
    assert warned.startswith("warning: split1/val: 3 videos are too few to choose an epoch by")
    assert any(text.startswith("epoch 1/1: train loss ") for text in heard.shown)
    again = train(request_for)
    assert again.summary.history == result.summary.history
    assert again.run_id == result.run_id
    assert (again.scores.scores == result.scores.scores).all()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("place", ["disk", "store"])
def test_a_folder_in_which_another_trains_is_left_alone(
    request_for: TrainingRequest, tmp_path: Path, place: str
) -> None:
    output = str(tmp_path / "run") if place == "disk" else f"mock:///{tmp_path.name}/run"
    store = f"sqlite:///{tmp_path}/mlflow.db"
    request = TrainingRequest(recipe=request_for.recipe, output=output, tracking_uri=store)
    storage.make_folder(output)
    with held(output, "train"), pytest.raises(UserError, match="another kinebert train works here"):
        train(request)
    assert storage.list_files(output) == [], "no recipe, and no run that would stay open for ever"
