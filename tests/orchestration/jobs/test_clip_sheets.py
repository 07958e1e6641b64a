"""Sheets of clips after epochs: what the network was shown, of every modality; one that fails ends no training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from kinebert.orchestration.jobs import clip_sheets
from kinebert.orchestration.jobs.clip_sheets import ClipSheets
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.preprocessing.sets.contact_sheet import clip_sheet
from kinebert.training.data.dataset import ClipDataset
from kinebert.training.loop.events import EpochDone, Event
from kinebert.training.recipe.optim import StageRecipe
from kinebert.training.recipe.train import DataRecipe, MultigridRecipe, TrainRecipe
from kinebert.training.run_folder import EpochRow
from tests.helpers.fake_shards import make_shards

SHARDS: Any = make_shards()
RECIPE = TrainRecipe(data=DataRecipe(shards="/fake/set", clip_length=4, crop_size=32), epochs=3, batch_size=8)


def done(epoch: int) -> EpochDone:
    row = EpochRow(epoch=epoch, train_loss=1.0, train_top1=0.5, val_loss=1.0, val_top1=0.5, clips_per_s=1, seconds=1)
    return EpochDone(row=row, num_epochs=3, is_best=True, best_epoch=1, best_top1=0.5, data_wait=0.0)


def test_a_sheet_holds_the_first_clips_of_its_epoch_as_they_were_cropped() -> None:
    sheets = ClipSheets(None, SHARDS, RECIPE, lambda _: None)  # type: ignore[arg-type]
    clips = ClipDataset(SHARDS, SHARDS.select("split1", "train"), RECIPE.data, seed=RECIPE.seed, training=True)
    for epoch in (1, 3):
        first = [clips[epoch - 1, position] for position in range(4)]
        expected = clip_sheet([(SHARDS.classes[label], np.asarray(clip)) for clip, label, _ in first], None)
        assert (sheets.sheet(epoch) == expected).all()
    assert (sheets.sheet(1) != sheets.sheet(2)).any()
    assert sheets.sheet(1).shape[2] == 3


def test_stages_have_clips_of_their_own_lengths() -> None:
    recipe = replace(RECIPE, stages=(StageRecipe(clip_length=2, epochs=1), StageRecipe(clip_length=4, epochs=2)))
    sheets = ClipSheets(None, SHARDS, recipe, lambda _: None)  # type: ignore[arg-type]
    widths = [sheets.sheet(epoch).shape[1] for epoch in (1, 2, 3)]
    assert widths[0] < widths[1] == widths[2]


def test_clips_of_multigrid_are_of_the_lengths_of_their_epochs() -> None:
    multigrid = MultigridRecipe(long_cycle=True, short_cycle=True)
    recipe = replace(RECIPE, multigrid=multigrid, batch_size=1, micro_batch=1, epochs=6)
    sheets = ClipSheets(None, SHARDS, recipe, lambda _: None)  # type: ignore[arg-type]
    widths = [sheets.sheet(epoch).shape[1] for epoch in (1, 4, 6)]
    assert widths == sorted(set(widths)), "one image of each clip, two, and four"


def test_flow_is_drawn_by_its_colours() -> None:
    still, moving = np.full((4, 8, 8, 2), 128, np.uint8), np.full((4, 8, 8, 2), 200, np.uint8)
    sheet = clip_sheet([("still", still), ("moving", moving)], 20.0, side=8)
    rows = np.split(sheet[:-6], 2)
    pictures = [row[18:26, 6:14] for row in rows]
    assert (pictures[0] >= 220).all()  # next to no motion is next to white
    assert len(np.unique(pictures[1].reshape(-1, 3), axis=0)) == 1
    assert pictures[1].min() < 200


def test_mlflow_has_a_sheet_of_every_epoch_and_a_training_goes_on_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = Tracker.start(f"sqlite:///{tmp_path}/mlflow.db", "kinebert", "run", {})
    heard: list[Event] = []
    hear = ClipSheets(tracker, SHARDS, RECIPE, heard.append)
    for epoch in (1, 2):
        hear(done(epoch))
    client = MlflowClient(tracker.address.tracking_uri)
    names = [item.path for item in client.list_artifacts(tracker.address.run_id, "images")]
    drawn = {name.split("+")[2] for name in names if name.startswith("images/clips+step+") and name.endswith(".png")}
    assert drawn == {"1", "2"}
    assert client.get_run(tracker.address.run_id).data.tags["mlflow.loggedImages"] == "True"

    def fails(*_: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(clip_sheets, "clip_sheet", fails)
    hear(done(3))
    hear(done(4))
    assert capsys.readouterr().err.count("the disk is gone") == 1
    assert len(heard) == 4


def test_a_long_training_has_sheets_of_some_of_its_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []

    class Pictures:
        def picture(self, name: str, sheet: Any, step: int) -> None:
            told.append(step)

    monkeypatch.setattr(ClipSheets, "sheet", lambda self, epoch: epoch)
    hear = ClipSheets(Pictures(), SHARDS, replace(RECIPE, epochs=180), lambda _: None)  # type: ignore[arg-type]
    for epoch in range(1, 181):
        hear(done(epoch))
    assert told == list(range(1, 181, 3))
