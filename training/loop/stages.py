"""Progressive training: one recipe in several stages of growing clips, each from the weights of the one before.

Axes: S rows of a table of positions (the classification token's first), F features.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.clips.calendar import Calendar, Grid
from kinebert.training.models import Recognizer
from kinebert.training.recipe.multigrid import calendar_of, phases_of
from kinebert.training.recipe.train import TrainRecipe
from kinebert.training.run_folder import stage_file


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage, and where it stands in the whole training. A training without stages is a single one."""

    number: int
    """From 0."""
    num_stages: int
    """Stages of the training."""
    recipe: TrainRecipe
    """Recipe of this stage alone."""
    first_epoch: int
    """Epochs of the stages before."""
    end_epoch: int
    """Epochs of the stages up to this one."""
    calendar: Calendar
    """Updates of the weights in each epoch, counted from this stage's first one, and what their batches are."""
    first_step: int
    """Updates of the stages before."""
    later_steps: float
    """What the later stages cost, in steps of this one that would take as long (as many pictures)."""

    @property
    def is_last(self) -> bool:
        """Whether the training ends with it."""
        return self.number + 1 == self.num_stages

    @property
    def num_steps(self) -> int:
        """Updates of the weights in an epoch; in the first one, where batches are of several shapes."""
        return self.steps_in(self.first_epoch)

    def steps_in(self, epoch: int) -> int:
        """Return the updates of an epoch, which counts from the very start."""
        return self.calendar.num_steps(epoch - self.first_epoch)

    def step(self, epoch: int, step: int) -> int:
        """Return how many updates of this stage come before ``step`` of ``epoch``, which count from the very start."""
        return self.calendar.before(epoch - self.first_epoch) + step

    def grid(self, epoch: int, step: int) -> Grid:
        """Return the shape of the batch of ``step`` of ``epoch``, which count from the very start."""
        return self.calendar.grid(epoch - self.first_epoch, step)

    @property
    def several_shapes(self) -> Calendar | None:
        """The calendar where batches are of several shapes; such a training has this stage alone."""
        return None if self.calendar.is_uniform else self.calendar

    def file(self, name: str) -> str:
        """Return what a file is called that every stage writes: the last stage's has the plain name."""
        return name if self.is_last else stage_file(name, self.number)


def plan_stages(recipe: TrainRecipe, num_videos: int) -> list[Stage]:
    """Return the stages of a training on ``num_videos`` videos."""
    recipes = recipe.in_stages()
    calendars = [calendar_of(one, num_videos) for one in recipes]
    steps = [calendar.before(one.epochs) for one, calendar in zip(recipes, calendars, strict=True)]
    costs = [num * one.batch_size * one.data.clip_length for one, num in zip(recipes, steps, strict=True)]
    stages = []
    first_epoch = first_step = 0
    for i, (one, calendar) in enumerate(zip(recipes, calendars, strict=True)):
        stages.append(
            Stage(
                number=i,
                num_stages=len(recipes),
                recipe=one,
                first_epoch=first_epoch,
                end_epoch=first_epoch + one.epochs,
                calendar=calendar,
                first_step=first_step,
                later_steps=sum(costs[i + 1 :]) / (one.batch_size * one.data.clip_length),
            )
        )
        first_epoch, first_step = first_epoch + one.epochs, first_step + steps[i]
    return stages


def check_shapes(model: Recognizer, recipe: TrainRecipe) -> None:
    """Make sure that a network takes the clips of all shapes that its training has.

    Raises:
        ConfigError: If not.
    """
    for _, cycle in phases_of(recipe):
        for grid in cycle:
            shape = (1, len(model.spec.mean), grid.clip_length, grid.crop_size, grid.crop_size)
            try:
                model.check_input(torch.empty(shape, device="meta"))
            except ConfigError as error:
                raise ConfigError(
                    f"multigrid has clips of {grid.clip_length} images of {grid.crop_size} pixels: {error} Take "
                    "another backbone or head (tgap takes every length), or leave out the cycle that makes them."
                ) from None


def carry_weights(weights: dict[str, Tensor], model: Recognizer) -> dict[str, Tensor]:
    """Return the weights of a stage in the shapes of the next one's network, built for another number of frames.

    A table of positions is stretched over the new number of time steps, linearly, so that the moment of a clip keeps
    its row; that of the classification token stays. All else keeps its shape.

    Args:
        weights: State dict of the stage that has ended.
        model: The next stage's network.

    Raises:
        ConfigError: If another parameter has a shape that depends on the number of frames.
    """
    carried = {}
    for name, wanted in model.state_dict().items():
        value = weights[name]
        if value.shape != wanted.shape:
            if not name.endswith(".positions"):
                raise ConfigError(
                    f"stages: {name} has the shape {tuple(value.shape)} in one stage and {tuple(wanted.shape)} in the "
                    f"next: the head {model.config['head']!r} is made for one number of frames. Take another head, "
                    "such as bert, lstm or tgap."
                )
            value = _stretched(value, wanted.shape[1])
        carried[name] = value
    return carried


def _stretched(positions_1SF: Tensor, rows: int) -> Tensor:
    steps_1FT = positions_1SF[:, 1:].transpose(1, 2)
    stretched_1FT = F.interpolate(steps_1FT, rows - 1, mode="linear", align_corners=False)
    return torch.cat([positions_1SF[:, :1], stretched_1FT.transpose(1, 2)], dim=1)
