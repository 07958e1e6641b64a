"""The exponential moving average of a recognizer's weights."""

from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from kinebert.training.models import Recognizer


class WeightAverage:
    """Weights and running statistics averaged over the updates: ``average = decay * average + (1 - decay) * weights``.

    It begins with the weights after the first update.

    Args:
        model: What is averaged; a copy of it holds the average.
        decay: Share of the old average that each update keeps, 0 to 1.
    """

    def __init__(self, model: Recognizer, decay: float) -> None:
        average: Any = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self._averaged = AveragedModel(model, multi_avg_fn=average, use_buffers=True)

    @property
    def recognizer(self) -> Recognizer:
        """The network with the average in it."""
        module = self._averaged.module
        assert isinstance(module, Recognizer)
        return module

    @torch.no_grad()
    def update(self, model: Recognizer) -> None:
        """Take in the weights after an update."""
        self._averaged.update_parameters(model)

    def state_dict(self) -> dict[str, Tensor]:
        """Return what :meth:`load_state_dict` needs."""
        return dict(self._averaged.state_dict())

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from :meth:`state_dict`."""
        self._averaged.load_state_dict(state)
