"""Numbers and pictures of a run as TensorBoard's event files, in the folder ``tensorboard`` of the run."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.preprocessing import storage

FOLDER = "tensorboard"
"""In the folder of the run."""


class EventFiles:
    """Writes scalars, and knows how far each was written before.

    Args:
        folder: Where the files lie; it is made.
    """

    def __init__(self, folder: str) -> None:
        self._known = _last_steps(folder)
        self._writer = SummaryWriter(folder)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Write numbers of one step, those that the files lack."""
        for name, value in values.items():
            if step > self._known.get(name, -1):
                self._writer.add_scalar(name, value, step)

    def params(self, values: Mapping[str, Any]) -> None:
        """Write parameters as a text, once."""
        if not self._known:
            lines = [f"    {name} = {value}" for name, value in values.items()]
            self._writer.add_text("parameters", "\n".join(lines))

    def image(self, name: str, picture_HWC: NDArray[np.uint8], step: int) -> None:
        """Write a picture, ``(H, W, 3)``, RGB."""
        if step > self._known.get(name, -1):
            self._writer.add_image(name, picture_HWC, step, dataformats="HWC")

    def close(self) -> None:
        """Write what is left, and close the file."""
        self._writer.close()


def open_mirror(folder: str, address: RunAddress) -> EventFiles:
    """Begin event files of a run in ``folder``, or go on with them."""
    del address
    return EventFiles(storage.join(folder, FOLDER))


def _last_steps(folder: str) -> dict[str, int]:
    """The last step of each scalar and picture that the files in ``folder`` hold."""
    if not storage.exists(folder):
        return {}
    found: Any = EventAccumulator(folder, size_guidance={SCALARS: 1, IMAGES: 1})
    found.Reload()
    scalars = {name: found.Scalars(name)[-1].step for name in found.Tags()[SCALARS]}
    return {**scalars, **{name: found.Images(name)[-1].step for name in found.Tags()[IMAGES]}}
