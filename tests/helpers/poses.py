"""A pose backend without a network, for tests: people stand where pictures are bright, and are counted as they come.

Axes: P people, J joints (25), H height, W width.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.pose import estimator
from kinebert.preprocessing.pose.estimator import Means, PoseBackend, WeightsFile, backend_of, register_pose_backend
from kinebert.preprocessing.pose.skeleton import BODY_25, People, nobody

NAME = "bright"
PLUGIN = str(Path(__file__).parent / "plugin")
"""On the path of a program (``MORE_PYTHONPATH``), it makes the backend known there."""
WEIGHTS = b"bright weights"
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


@dataclass(frozen=True, kw_only=True)
class BrightParams:
    """What changes the people of the test's backend."""

    people: int = 1
    """Most people that it finds."""
    spread: float = 0.25
    """Distance of joints from the middle, as a share of the picture's height."""
    fails_at: int = -1
    """Number of the picture, from 0, at which it gives up."""

    def __post_init__(self) -> None:
        if self.people < 0:
            raise ConfigError(f"people must be at least 0, got {self.people}.")


class Bright:
    """Finds people around a picture's mean brightness; the n-th picture of a video has one whose nose tells n."""

    name = "bright 1.0"

    def __init__(self, params: BrightParams, means: Means) -> None:
        self.params, self.means, self.seen = params, means, 0

    def pictures_at_once(self, height: int, width: int) -> int:
        """Three, so that batches and segments end at different pictures."""
        return 3

    def begin(self) -> None:
        """Count from 0 again."""
        self.seen = 0

    def __call__(self, frames: Sequence[NDArray[np.uint8]]) -> list[People]:
        """Return people that depend on the picture, and on its number in the video."""
        return [self._look(frame_HW3) for frame_HW3 in frames]

    def _look(self, frame_HW3: NDArray[np.uint8]) -> People:
        number, self.seen = self.seen, self.seen + 1
        if number == self.params.fails_at:
            raise ArithmeticError(f"no idea at picture {number}")
        if number % 5 == 4:
            return nobody()
        height, width = frame_HW3.shape[:2]
        middle = np.array([width / 3 + number, height / 2 + float(frame_HW3.mean()) / 64])
        angle_J = np.linspace(0, 2 * np.pi, len(BODY_25), endpoint=False)
        around_J2 = self.params.spread * height * np.stack([np.cos(angle_J), np.sin(angle_J)], axis=1)
        people_PJ3 = np.full((self.params.people, len(BODY_25), 3), 0.9, np.float32)
        for i, person_J3 in enumerate(people_PJ3):
            person_J3[:, :2] = middle + around_J2 / (i + 1)
        return people_PJ3


def start(params: BrightParams, files: Mapping[str, str], means: Means) -> Bright:
    """Read the file of weights, which has to say so, and start."""
    if Path(files["network"]).read_bytes()[:6] != b"bright":
        raise UserError(f"{files['network']}: these are no weights.")
    return Bright(params, means)


BRIGHT = PoseBackend(
    name=NAME,
    about="a test's",
    licence="for tests only",
    obtain="Write them yourself",
    files=(
        WeightsFile(role="network", about="six letters"),
        WeightsFile(role="more", about="nothing", optional=True),
    ),
    params=BrightParams,
    start=start,
)


@contextmanager
def bright_backend(backend: PoseBackend = BRIGHT) -> Iterator[PoseBackend]:
    """Have the backend registered inside the block."""
    if backend.name not in estimator.BACKENDS:
        try:
            backend_of("")  # find the others first
        except ConfigError:
            register_pose_backend(backend)
    try:
        yield backend
    finally:
        estimator.BACKENDS.pop(backend.name, None)


def write_weights(folder: Path, name: str = "bright.bin") -> Path:
    """Write a file of weights."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(WEIGHTS)
    return path
