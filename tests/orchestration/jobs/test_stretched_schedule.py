"""A training that is to go on with another number of epochs than its cosine was begun for, as a user asks for it."""

from dataclasses import replace
from pathlib import Path

import pytest

from kinebert.orchestration.jobs import training
from kinebert.orchestration.jobs.requests import TrainingRequest
from kinebert.preprocessing.config import load_config
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.training.loop.loop import WorkerContext, train
from kinebert.training.recipe.train import TrainRecipe
from tests.helpers.listening import Heard
from tests.helpers.sets import make_rows, make_set, small_recipe


def test_it_is_refused_without_the_request_and_said_with_it(tmp_path: Path) -> None:
    shards = make_set(make_rows(tmp_path / "videos", [6] * 12), tmp_path / "rgb", FrameRecipe(resize="none"))
    (tmp_path / "r.toml").write_text(small_recipe(shards.uri, epochs=4) + '[optim]\nschedule = "cosine"\n')
    recipe = load_config(TrainRecipe, tmp_path / "r.toml", [])
    folder = str(tmp_path / "run")
    asked = TrainingRequest(recipe=replace(recipe, epochs=3), output=folder, stretch_schedule=True)
    heard = Heard()
    assert training.check(asked, heard).recipe.optim.stretched == ()
    assert any("nothing has been trained here yet" in text for text in heard.said)
    train(recipe, shards, WorkerContext(num_threads=1), folder, lambda _: None, pause_after=1)
    with pytest.raises(UserError, match="--stretch-schedule"):
        training.check(replace(asked, stretch_schedule=False), Heard())
    heard = Heard()
    assert training.check(asked, heard).recipe.optim.stretched == ((1, 4),)
    assert "note: after epoch 1 the rest of the cosine, begun for 4 epochs, ends with epoch 3" in heard.said
    assert any("going on in epoch 2 of 3" in text for text in heard.said)
