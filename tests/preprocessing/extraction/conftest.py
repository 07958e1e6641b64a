"""What tests of extraction share."""

from pathlib import Path

import pytest

from tests.helpers.segments import NUM_FRAMES
from tests.helpers.videos import moving_texture, write_video


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of 40 frames at 25 a second."""
    return write_video(tmp_path_factory.mktemp("film") / "film.mp4", moving_texture(NUM_FRAMES))
