"""Numbers and pictures of a run as a run of Weights & Biases, which has the id of the run in MLflow."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import wandb
from numpy.typing import NDArray

from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.preprocessing import storage

UPDATES, EPOCHS = "updates", "epochs"
"""Numbers that the curves are drawn over: one for each group, as W&B has a single count of steps of its own."""
_OVER_UPDATES = ("step/", "system/")


class WandbRun:
    """Logs to a run, and knows how far it was logged before.

    Args:
        run: What ``wandb.init`` returned.
    """

    def __init__(self, run: Any) -> None:
        self._run = run
        self._known = {axis: int(run.summary.get(axis, -1)) for axis in (UPDATES, EPOCHS)}
        self._logged = {name for name in dict(run.summary) if name not in self._known}
        for axis in (UPDATES, EPOCHS):
            run.define_metric(axis, hidden=True)
        run.define_metric("*", step_metric=EPOCHS)
        for group in _OVER_UPDATES:
            run.define_metric(f"{group}*", step_metric=UPDATES)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers of one step, those that the run lacks."""
        self._log(values, step)

    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters as the run's configuration."""
        self._run.config.update(dict(values), allow_val_change=True)

    def image(self, name: str, picture_HWC: NDArray[np.uint8], step: int) -> None:
        """Log a picture, ``(H, W, 3)``, RGB."""
        self._log({name: wandb.Image(picture_HWC)}, step)

    def close(self) -> None:
        """Send what is left, and end the run."""
        self._run.finish()

    def _log(self, values: Mapping[str, Any], step: int) -> None:
        for axis in (UPDATES, EPOCHS):
            mine = {key: value for key, value in values.items() if (axis == UPDATES) == key.startswith(_OVER_UPDATES)}
            new = {key: value for key, value in mine.items() if step > self._known[axis] or key not in self._logged}
            if new:
                self._run.log({**new, axis: step})


def open_mirror(folder: str, address: RunAddress) -> WandbRun:
    """Begin a run of W&B, or go on with it."""
    name = storage.name_of(folder)
    options: dict[str, Any] = {"project": address.experiment, "id": address.run_id, "name": name, "dir": folder}
    return WandbRun(wandb.init(**options, resume="allow", reinit="create_new"))
