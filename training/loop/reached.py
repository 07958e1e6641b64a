"""How far a training has come, in numbers."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinebert.training.checkpoints.state import TrainState
from kinebert.training.loop.learner import StepOutcome
from kinebert.training.run_folder import EpochRow, rank

NUM_SUMS = 4
"""Loss times clips, clips that were right, clips, updates that were left out."""


def _no_sums() -> NDArray[np.float64]:
    return np.zeros(NUM_SUMS)


@dataclass
class Reached:
    """What a saved state says of a training, beside weights and schedule. Changed in place as training goes on."""

    epoch: int
    """Epoch that comes next or is under way, from 0."""
    step: int = 0
    """Steps of that epoch that are done."""
    sums: NDArray[np.float64] = field(default_factory=_no_sums)
    """Of those steps, see :data:`NUM_SUMS`."""
    distance: float = 0.0
    """What a teacher has added to the sum of losses, of those steps."""
    best: EpochRow | None = None
    """Best epoch of the stage; None before there is one."""
    history: list[EpochRow] = field(default_factory=list)
    """Finished epochs."""
    taken_over: int = 0
    """Epochs of the history that another training did."""

    @staticmethod
    def of(state: TrainState) -> "Reached":
        """Return what a saved state says."""
        sums = np.array([*state.sums, *[0.0] * (NUM_SUMS - len(state.sums))])  # older states have fewer
        return Reached(state.epoch, state.step, sums, sum(state.taught), state.best, state.history, state.taken_over)

    @property
    def train_loss(self) -> float:
        """Mean over the clips of this epoch."""
        return float(self.sums[0] / self.sums[2])

    @property
    def train_distance(self) -> float:
        """The part of :attr:`train_loss` that a teacher is the measure of."""
        return float(self.distance / self.sums[2])

    @property
    def train_top1(self) -> float:
        """Share of the clips of this epoch that were right."""
        return float(self.sums[1] / self.sums[2])

    @property
    def num_clips(self) -> float:
        """Clips of this epoch that weights were updated with."""
        return float(self.sums[2])

    @property
    def num_left_out(self) -> int:
        """Updates of this epoch that were left out."""
        return int(self.sums[3])

    def add(self, done: StepOutcome) -> None:
        """Count one step."""
        if done.left_out:
            self.sums += [0, 0, 0, 1]
        else:
            self.sums += [done.loss * done.num_clips, done.num_right, done.num_clips, 0]
            self.distance += (done.distance or 0.0) * done.num_clips
        self.step += 1

    def finish(self, row: EpochRow) -> bool:
        """Go on to the next epoch; return whether ``row``, the one that has ended, is the best so far."""
        better = self.best is None or rank(row) > rank(self.best)
        self.history = [*self.history, row]  # whoever was given the old list keeps it as it was
        self.epoch, self.step, self.sums, self.distance = self.epoch + 1, 0, _no_sums(), 0.0
        if better:
            self.best = row
        return better

    def plain(self) -> dict[str, Any]:
        """Return the fields of :class:`.TrainState` that these are."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "sums": self.sums.tolist(),
            "taught": [self.distance],
            "best": self.best,
            "history": self.history,
            "taken_over": self.taken_over,
        }
