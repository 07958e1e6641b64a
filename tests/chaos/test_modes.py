"""What programs make: as the umask wants it where users look, and the user's own where nobody should."""

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kinebert.preprocessing.datasets.manifest import write_manifest
from kinebert.preprocessing.recipe import FrameRecipe
from tests.helpers.processes import Program
from tests.helpers.sets import make_rows, make_set, small_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
LINES = (
    "extract_flow --manifest {0}/manifest.parquet --preset fast --output {0}/out/flow",
    "train {0}/small.toml --output {0}/out/run",
    "evaluate {0}/out/run/best.pt --part val --output {0}/out/scores",
    "predict {0}/videos/class0/v00.mp4 --checkpoint {0}/out/run/best.pt --output {0}/out/said --annotate",
)
_DATABASE = "mlflow.db"


@pytest.fixture(params=[0o000, 0o022], ids=["umask 000", "umask 022"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def seen_in(folder: Path) -> dict[str, int]:
    """Modes of all that a folder holds now, by relative path."""
    found = {}
    for path in folder.rglob("*"):
        try:
            found[path.relative_to(folder).as_posix()] = path.lstat().st_mode
        except FileNotFoundError:
            continue
    return found


def test_temporary_things_are_private_and_outputs_as_the_umask_wants_them(tmp_path: Path, umask: int) -> None:
    rows = make_rows(tmp_path / "videos", [6, 7, 8, 9, 6, 7])
    write_manifest(str(tmp_path / "manifest.parquet"), rows)
    make_set(rows, tmp_path / "set", FrameRecipe(resize="none"))
    (tmp_path / "small.toml").write_text(small_recipe(tmp_path / "set", epochs=1))
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    seen = dict[str, int]()
    for line in LINES:
        name, *args = line.format(tmp_path).split()
        program = Program(name, args, tmp_path / name, TMPDIR=str(temporary))
        while program.process.poll() is None:
            seen |= seen_in(temporary)
            for folder in map(Path, program.cluster_folders):
                if folder.exists():
                    assert not stat.S_IMODE(folder.stat().st_mode) & 0o077, folder
            program.alive()
            time.sleep(0.02)
        assert program.process.returncode == 0, program.errors()
        ours = program.home / ".cache" / "kinebert"
        assert not ours.exists() or not stat.S_IMODE(ours.stat().st_mode) & 0o077
        program.wait_until_nobody_works()
    first = {path: mode for path, mode in seen.items() if "/" not in path}
    assert first, "the look was not in vain"
    assert [path for path, mode in first.items() if stat.S_IMODE(mode) & 0o077] == []
    assert [path for path in first if not path.startswith(("kinebert-", "tmp"))] == []
    assert list(temporary.iterdir()) == []
    made = seen_in(tmp_path / "out")
    assert "run/best.pt" in made
    for path, mode in made.items():
        if _DATABASE not in path:  # SQLite has a mode of its own
            wanted = (0o777 if stat.S_ISDIR(mode) else 0o666) & ~umask
            assert stat.S_IMODE(mode) == wanted, path
