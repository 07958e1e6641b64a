"""The exponential moving average of a recognizer's weights."""

from itertools import chain

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from kinebert.training.models import Recognizer


class WeightAverage:
    """Weights and running statistics averaged over the updates: ``average = decay * average + (1 - decay) * weights``.

    It begins with the weights after the first update. An update takes a few operator calls however many tensors there
    are. What it saves is what torch's ``AveragedModel`` does.

    Args:
        model: What is averaged; a copy of it holds the average.
        decay: Share of the old average that each update keeps, 0 to 1.
    """

    def __init__(self, model: Recognizer, decay: float) -> None:
        self._averaged = AveragedModel(model, use_buffers=True)
        self._decay, self._begun = decay, False

    @property
    def recognizer(self) -> Recognizer:
        """The network with the average in it."""
        module = self._averaged.module
        assert isinstance(module, Recognizer)
        return module

    @torch.no_grad()
    def update(self, model: Recognizer) -> None:
        """Take in the weights after an update."""
        ours, theirs = _tensors(self.recognizer), _tensors(model)
        if self._begun:
            self._blend(ours, theirs)
        else:
            torch._foreach_copy_(ours, theirs)
        self._averaged.n_averaged += 1
        self._begun = True

    def _blend(self, ours: list[Tensor], theirs: list[Tensor]) -> None:
        pairs = list(zip(ours, theirs, strict=True))
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([own for own, _ in floats], [new for _, new in floats], 1 - self._decay)
        counts = [pair for pair in pairs if not pair[0].is_floating_point()]
        if counts:  # of batches, one number each: put together, since there is no such call for whole numbers
            own, new = (torch.cat([pair[i].flatten() for pair in counts]) for i in (0, 1))
            mixed = (own * self._decay + new * (1 - self._decay)).to(own.dtype)
            sizes = [own.numel() for own, _ in counts]
            parts = [part.view_as(own) for part, (own, _) in zip(torch.split(mixed, sizes), counts, strict=True)]
            torch._foreach_copy_([own for own, _ in counts], parts)

    def state_dict(self) -> dict[str, Tensor]:
        """Return what :meth:`load_state_dict` needs."""
        return dict(self._averaged.state_dict())

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from :meth:`state_dict`."""
        self._averaged.load_state_dict(state)
        self._begun = bool(self._averaged.n_averaged > 0)


def _tensors(model: Recognizer) -> list[Tensor]:
    return list(chain(model.parameters(), model.buffers()))
