"""TensorBoard's event files, read back: the names, values and steps of MLflow, and no step twice."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinebert.orchestration.tracking.run_address import RunAddress
from tests.helpers.requirements import imported

accumulators: Any = imported("tensorboard.backend.event_processing.event_accumulator", "tensorboard")

from kinebert.orchestration.tracking.mirrors.event_files import open_mirror  # noqa: E402

ADDRESS = RunAddress("sqlite:////nowhere/mlflow.db", "kinebert", "run0")
PICTURE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def read(folder: Path) -> Any:
    found = accumulators.EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return found


def test_numbers_and_pictures_are_there_under_their_names(tmp_path: Path) -> None:
    mirror = open_mirror(str(tmp_path), ADDRESS)
    mirror.params({"optim.lr": 0.1})
    for step in range(1, 4):
        mirror.metrics({"step/loss": 1 / step, "system/cpu": 50.0}, step)
    mirror.metrics({"epoch/val_top1": 0.5}, 1)
    mirror.image("clips", PICTURE, 1)
    mirror.close()
    found = read(tmp_path)
    assert sorted(found.Tags()["scalars"]) == ["epoch/val_top1", "step/loss", "system/cpu"]
    told = [(event.step, event.value) for event in found.Scalars("step/loss")]
    assert told == [(step, pytest.approx(1 / step)) for step in range(1, 4)]
    (picture,) = found.Images("clips")
    assert (picture.step, picture.height, picture.width) == (1, 4, 6)


def test_a_run_that_goes_on_doubles_no_step(tmp_path: Path) -> None:
    for first in (1, 3):
        mirror = open_mirror(str(tmp_path), ADDRESS)
        mirror.params({"optim.lr": 0.1})
        for step in range(first, 6 if first > 1 else 5):
            mirror.metrics({"step/loss": float(step)}, step)
        mirror.metrics({"epoch/val_top1": 0.5}, 1)
        mirror.image("clips", PICTURE, 1)
        mirror.close()
    found = read(tmp_path)
    assert [event.step for event in found.Scalars("step/loss")] == [1, 2, 3, 4, 5]
    assert [event.step for event in found.Scalars("epoch/val_top1")] == [1]
    assert [event.step for event in found.Images("clips")] == [1]
