"""Gives every test the same draws, and those of an installation one wheel in an environment of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.helpers.installed import COMMIT, build, copy_of_checkout, environment_with, unpacked


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # networks this small only wait for one another
    with torch.random.fork_rng():
        torch.manual_seed(7)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, without its git."""
    return copy_of_checkout(tmp_path_factory.mktemp("source") / "checkout")


@pytest.fixture(scope="session")
def archive(source: Path) -> Path:
    return build("sdist", source, source.parent / "sdist", f"{COMMIT} modified")


@pytest.fixture(scope="session")
def wheel(archive: Path) -> Path:
    """Built from the source archive by somebody who does not know the commit."""
    return build("wheel", unpacked(archive, archive.parent.parent / "unpacked"), archive.parent.parent / "wheel")


@pytest.fixture(scope="session")
def python(wheel: Path) -> Path:
    return environment_with(wheel, wheel.parent.parent / "environment")
