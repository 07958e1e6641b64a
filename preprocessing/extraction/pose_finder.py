"""How a task looks for people: estimators started before any video's clock runs, and one for each video at work.

Axes: P people, J joints (25), H height, W width.
"""

import functools
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.extraction.solvers import out_of_memory
from kinebert.preprocessing.pose.estimator import Means, PoseEstimator, backend_of
from kinebert.preprocessing.pose.skeleton import People
from kinebert.preprocessing.pose.weights import locate_weights
from kinebert.preprocessing.recipe import PoseRecipe

UInt8 = NDArray[np.uint8]
_TINY = (64, 96)
"""Height and width of the picture that an estimator is made ready with."""


@dataclass(frozen=True, kw_only=True)
class PoseFinder:
    """Who looks for people in a task, with what of the machine. No part of a recipe, which names the backend too."""

    title: ClassVar[str] = "poses"
    most_per_gpu: ClassVar[int] = 4
    """One network keeps a GPU busy; a few tasks decode and draw meanwhile."""

    backend: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    """Where files of weights may lie, by role; others are found by the digests of the recipe."""
    folder: str = ""
    """To be looked in for them before the folders of the machine."""
    num_threads: int = 1
    on_gpu: bool = False
    """The task holds a share of a GPU."""
    estimators: "Estimators | None" = field(default=None, compare=False)
    """Those of this process; None of a finder that is not ready."""

    @property
    def uses_gpu(self) -> bool:
        """Whether its backend can use a GPU."""
        return backend_of(self.backend).uses_gpu

    def placed(self, *, num_threads: int, on_gpu: bool) -> "PoseFinder":
        """Return it with what of the machine its tasks will have."""
        return replace(self, num_threads=num_threads, on_gpu=on_gpu)

    def check(self, recipe: PoseRecipe) -> None:
        """Raise a UserError if a file of weights or a package is missing here; nothing is started."""
        backend = backend_of(recipe.backend)
        backend.check()
        locate_weights(backend, recipe.weights, self.files, self.folder)

    def ready(self, recipe: PoseRecipe) -> "PoseFinder":
        """Find and check the weights, start an estimator, and return the finder that is ready for use.

        Estimators stay in this process: other shards of the same job find them warm.

        Raises:
            UserError: If a file or a package is missing, or is not what the recipe names.
        """
        backend = backend_of(recipe.backend)
        paths = locate_weights(backend, recipe.weights, self.files, self.folder)
        means = Means(num_threads=self.num_threads, on_gpu=self.on_gpu and backend.uses_gpu)
        started = _started(recipe.backend, json.dumps(recipe.params), tuple(sorted(paths.items())), means)
        return replace(self, backend=recipe.backend, estimators=started)

    def name(self) -> str:
        """Library and version, as shards record it."""
        assert self.estimators is not None, "it is ready"
        return self.estimators.name

    @contextmanager
    def session(self, video_id: str) -> Iterator[PoseEstimator]:
        """Have an estimator for one video, from its first picture on: what it tracks is no other video's."""
        del video_id
        assert self.estimators is not None, "it is ready"
        with self.estimators.one() as estimator:
            estimator.begin()
            yield estimator

    def find(self, estimator: PoseEstimator, frames: Sequence[UInt8]) -> list[People]:
        """Return the people of each picture; where memory is too small for so many at once, of half as many at a time.

        Raises:
            ValueError: If the estimator gives something else than people.
        """
        try:
            found = estimator(frames)
        except RuntimeError as error:
            if not out_of_memory(error, self.on_gpu) or len(frames) < 2:
                raise
            half = len(frames) // 2
            return [*self.find(estimator, frames[:half]), *self.find(estimator, frames[half:])]
        if len(found) != len(frames):
            raise ValueError(f"{estimator.name} gave people of {len(found)} pictures, expected {len(frames)}")
        return found


class Estimators:
    """Estimators of one kind: as many as videos were at work side by side."""

    def __init__(self, start: "functools.partial[PoseEstimator]") -> None:
        self._start, self._lock = start, threading.Lock()
        first = start()
        first.begin()
        first([np.zeros((*_TINY, 3), np.uint8)])  # what is slow once, such as the first kernel, is over now
        self._free = [first]
        self.name = first.name

    @contextmanager
    def one(self) -> Iterator[PoseEstimator]:
        """Have one that nobody else has meanwhile."""
        with self._lock:
            estimator = self._free.pop() if self._free else self._start()
        try:
            yield estimator
        finally:
            self._free.append(estimator)


@functools.lru_cache(maxsize=2)
def _started(backend: str, params: str, files: tuple[tuple[str, str], ...], means: Means) -> Estimators:
    kind = backend_of(backend)
    given: object = from_mapping(kind.params, json.loads(params), backend)
    return Estimators(functools.partial(kind.start, given, dict(files), means))
