"""Nobody but this machine can reach what a program opens, whatever the program does."""

import os
import stat
import time
from pathlib import Path

import pytest

from kinebert.preprocessing.datasets.manifest import write_manifest
from kinebert.preprocessing.recipe import FrameRecipe
from tests.helpers.processes import Program
from tests.helpers.sets import make_rows, make_set, small_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
TUNE = '\n[tune]\ntrials = 2\n[tune.space]\n"optim.lr" = { choice = [0.1, 0.01] }\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos, their manifest and shards, a recipe, and a training of it."""
    folder = tmp_path_factory.mktemp("listening")
    rows = make_rows(folder / "videos", [6, 7, 8, 9, 6, 7])
    write_manifest(str(folder / "manifest.parquet"), rows)
    make_set(rows, folder / "set", FrameRecipe(resize="none"))
    (folder / "small.toml").write_text(small_recipe(folder / "set", epochs=2))
    (folder / "tune.toml").write_text(small_recipe(folder / "set", epochs=1) + TUNE)
    heard(folder, "train", str(folder / "small.toml"), "--output", str(folder / "run"))
    return folder


def open_to_others(folder: str) -> bool:
    """Whether another user of this machine gets into a folder."""
    try:
        return bool(stat.S_IMODE(os.stat(folder).st_mode) & 0o077)
    except FileNotFoundError:
        return False


def heard(folder: Path, name: str, *args: str) -> tuple[set[str], set[str]]:
    """Run a program to its end; return the addresses on which it listened, and those that strangers could reach.

    Its cluster's folder must be its own all the time.
    """
    program = Program(name, args, folder / f"{name}{time.monotonic_ns()}")
    everywhere, strangers = set[str](), set[str]()
    while program.process.poll() is None:
        everywhere |= program.listening()
        strangers |= program.listening_to_strangers()
        assert not any(map(open_to_others, program.cluster_folders)), program.cluster_folders
        time.sleep(0.05)
    assert program.process.returncode == 0, program.errors()
    program.wait_until_nobody_works()
    return everywhere, strangers


@pytest.mark.parametrize("workers", [1, 2])
def test_a_training_listens_on_loopback_only(folder: Path, workers: int) -> None:
    recipe, output = str(folder / "small.toml"), str(folder / f"run{workers}")
    everywhere, strangers = heard(folder, "train", recipe, "--output", output, "--set", f"workers={workers}")
    assert everywhere  # Ray's own sockets were seen, so the look was not in vain
    assert strangers == set()


@pytest.mark.parametrize(
    "line",
    [
        "extract_frames --manifest {0}/manifest.parquet --resize none --output {0}/anew",
        "evaluate {0}/run/best.pt --part val --workers 2",
        "tune {0}/tune.toml --output {0}/search",
        "predict {0}/videos/class0/v00.mp4 --checkpoint {0}/run/best.pt --output {0}/said",
    ],
    ids=lambda line: line.partition(" ")[0],
)
def test_so_does_every_other_program(folder: Path, line: str) -> None:
    assert heard(folder, *line.format(folder).split())[1] == set()
