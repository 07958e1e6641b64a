"""Sheets of clips in MLflow after epochs of a training: what the network was shown, cropped and mirrored as it was.

Axes: T images, H height, W width, C channels.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from kinebert.orchestration.printing import warn
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.preprocessing.modalities import streams_of
from kinebert.preprocessing.sets.contact_sheet import clip_sheet
from kinebert.training.aligned import OpenedSet
from kinebert.training.data.dataset import ClipDataset
from kinebert.training.loop.events import EpochDone, Event
from kinebert.training.recipe.multigrid import calendar_of
from kinebert.training.recipe.train import TrainRecipe

NAME = "clips"
"""Of the pictures in MLflow; their step is the epoch."""
NUM_CLIPS = 4
"""In a sheet: the first of the epoch."""
MOST_SHEETS = 60
"""Of a training; a longer one has them after evenly spaced epochs."""


class ClipSheets:
    """Hears a training, passes on what it hears, and keeps a sheet after epochs. A sheet that fails is the last one.

    Args:
        tracker: The MLflow run.
        shards: What is trained on.
        recipe: Of the training.
        hear: Is told every event first.
    """

    def __init__(self, tracker: Tracker, shards: OpenedSet, recipe: TrainRecipe, hear: Callable[[Event], None]) -> None:
        self._tracker, self._shards, self._recipe, self._hear = tracker, shards, recipe, hear
        self._every = -(-recipe.epochs // MOST_SHEETS)
        self._failed = False
        self._clips = cache(self._dataset)

    def __call__(self, event: Event) -> None:
        """Pass one event on, and draw after an epoch."""
        self._hear(event)
        if isinstance(event, EpochDone) and not self._failed and (event.row["epoch"] - 1) % self._every == 0:
            try:
                self._tracker.picture(NAME, self.sheet(event.row["epoch"]), event.row["epoch"])
            except Exception as error:  # a picture is worth less than the training
                self._failed = True
                warn(f"no further sheets of clips are drawn for MLflow: {error}")

    def sheet(self, epoch: int) -> NDArray[np.uint8]:
        """Draw the first clips of an epoch (from 1) as the network was shown them; returns RGB ``(H, W, 3)``."""
        clips = self._clips(self._stage_of(epoch))
        drawn = []
        for position in range(min(NUM_CLIPS, len(clips))):
            clip_THWC, label, _ = clips[epoch - 1, position]
            assert isinstance(clip_THWC, np.ndarray), "crops are resized here"
            streams = streams_of(self._shards.modality).values()  # of a stack its first field
            drawn += [(self._shards.classes[label], clip_THWC[..., own]) for own in streams]
        return clip_sheet(drawn, self._shards.flow_bound)

    def _stage_of(self, epoch: int) -> int:
        ends = np.cumsum([stage.epochs for stage in self._recipe.in_stages()])
        return min(int(np.searchsorted(ends, epoch)), len(ends) - 1)

    def _dataset(self, stage: int) -> ClipDataset:
        recipe = self._recipe.in_stages()[stage]
        # without a cache, which is for the processes that read everything
        data = replace(recipe.data, resize_on="loader", cache_gib=0.0, cache_folder="")
        videos = self._shards.select(data.split, data.train_part)
        calendar = calendar_of(recipe, len(videos)) if recipe.multigrid.on else None
        return ClipDataset(self._shards, videos, data, seed=recipe.seed, training=True, calendar=calendar)
