"""The part of a recipe that lets batches grow as their clips shrink."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.clips.calendar import Calendar, Grid, Phase, long_cycle_starts, multigrid_cycles
from kinebert.training.recipe.optim import at_least

if TYPE_CHECKING:
    from kinebert.training.recipe.train import TrainRecipe


@dataclass(frozen=True, kw_only=True)
class MultigridRecipe:
    """Multigrid training (arXiv:1912.00998): small clips in large batches first, the recipe's own shape last."""

    long_cycle: bool = False
    """Epochs of clips of a quarter, a half, a half and all of clip_length, at 0.71, 0.71, 1 and 1 of crop_size; images
    of a dense clip lie farther apart as they get fewer, so that it reaches as far."""
    short_cycle: bool = False
    """Steps at 0.5 and 0.71 of crop_size, and at the long cycle's size, in turn."""
    cycles: int = 0
    """How often the long cycle is gone through, in equal parts of the epochs; 0: once before each of
    optim.milestones, and once without them."""
    finetune_epochs: int = 0
    """Epochs at the end that have the recipe's own length and size, after the last long cycle."""
    scale_lr: Literal["long", "both", "none"] = "long"
    """The linear scaling rule. long: the learning rate is multiplied by what the batch of the long cycle's shape has
    grown by, as published; both: by what the step's own batch has; none: it stays."""
    micro_batch: Literal["stays", "grows"] = "stays"
    """stays: larger batches are more micro-batches, so that batch norms see as many clips as ever, as published;
    grows: they are larger ones, which is faster, in about the same memory."""

    def __post_init__(self) -> None:
        for name in ("cycles", "finetune_epochs"):
            at_least(0, f"multigrid.{name}", getattr(self, name))
        if not self.long_cycle and (self.cycles or self.finetune_epochs):
            raise ConfigError(
                "multigrid.cycles and multigrid.finetune_epochs are of multigrid.long_cycle, but that is off."
            )

    @property
    def on(self) -> bool:
        """Whether batches are of several shapes."""
        return self.long_cycle or self.short_cycle


def base_grid(recipe: "TrainRecipe") -> Grid:
    """Return the shape that a recipe gives: the only one without multigrid."""
    return Grid(
        batch_size=recipe.batch_size,
        micro_batch=recipe.micro_batch,
        clip_length=recipe.data.clip_length,
        frame_interval=recipe.data.frame_interval,
        crop_size=recipe.data.crop_size,
    )


def phases_of(recipe: "TrainRecipe") -> tuple[Phase, ...]:
    """Return which shapes the epochs of a recipe without stages have.

    Raises:
        ConfigError: If it has too few epochs for its long cycles, or something that multigrid does not go with.
    """
    grid, multigrid = base_grid(recipe), recipe.multigrid
    if not multigrid.on:
        return ((0, (grid,)),)
    _check(recipe)
    cycles = multigrid_cycles(
        grid,
        short_cycle=multigrid.short_cycle,
        long_cycle=multigrid.long_cycle,
        scale_lr=multigrid.scale_lr,
        micro_grows=multigrid.micro_batch == "grows",
    )
    if not multigrid.long_cycle:
        return ((0, cycles[0]),)
    end, bounds = recipe.epochs - multigrid.finetune_epochs, [0]
    if multigrid.cycles:
        bounds += [round(end * i / multigrid.cycles) for i in range(1, multigrid.cycles + 1)]
    else:
        bounds += [*(epoch for epoch in recipe.optim.milestones if epoch < end), end]
    begins = long_cycle_starts(bounds, cycles)
    if any(after <= before for before, after in pairwise([*begins, end])):
        raise ConfigError(
            f"multigrid.long_cycle: {end} epochs are too few for {len(bounds) - 1} cycles of {len(cycles)} shapes: "
            f"they would begin in epochs {[begin + 1 for begin in begins]}, and each needs one of its own. Take more "
            "epochs, fewer multigrid.cycles, milestones or multigrid.finetune_epochs, or the short cycle alone."
        )
    shapes = cycles * (len(bounds) - 1)
    tail = ((end, cycles[-1]),) if multigrid.finetune_epochs else ()
    return (*zip(begins, shapes, strict=True), *tail)


def calendar_of(recipe: "TrainRecipe", num_videos: int) -> Calendar:
    """Return the steps of a recipe without stages on so many videos."""
    return Calendar(num_videos, phases_of(recipe), recipe.epochs)


def _check(recipe: "TrainRecipe") -> None:
    for name, is_set in (("stages", recipe.stages), ("compile", recipe.compile), ("stretched", recipe.optim.stretched)):
        if is_set:
            why = {
                "stages": "stages have lengths of their own",
                "compile": "a graph is of one shape",
                "stretched": "a long cycle and a cosine share out the epochs from the beginning",
            }[name]
            where = f"optim.{name}" if name == "stretched" else name
            raise ConfigError(f"multigrid does not go with {where}: {why}. Leave one of them out.")
