"""A new user's walk from clips and a list to a fused and registered result, on a wheel, by what the programs say next.

Nothing but a list of clips is made by hand. Each step is the line that the step before it ended with, but for what is
the user's to choose: a recipe, sizes, fewer epochs. No source code, and no file of Parquet, is looked into.
"""

import csv
import re
import shlex
import shutil
import sqlite3
from pathlib import Path

import pytest

from kinebert.preprocessing.datasets.synthetic import write_synthetic_videos
from tests.helpers.installed import started

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SHORTER = ["data.split=mine", "epochs=2", "data.crop_size=64"]
"""What makes a training of a recipe a matter of seconds."""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Clips of fights and of none in one folder, three from each source, and a list of them."""
    made = write_synthetic_videos(
        tmp_path / "made",
        videos_per_class=24,
        seed=1,
        size=(96, 64),
        num_frames=16,
        classes=("move_left", "move_right"),
    )
    (tmp_path / "clips").mkdir()
    with (tmp_path / "clips.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "group"])
        for video in made:
            number, fight = int(video.stem[-4:]), "left" in video.name
            path = tmp_path / "clips" / f"{'fi' if fight else 'no'}{number + 1}_xvid.mp4"
            shutil.move(video, path)
            table.writerow([path.relative_to(tmp_path), "fight" if fight else "noFight", f"source{number // 3}"])
    return tmp_path


class Walk:
    """Runs the installed command, and remembers what it said to do next."""

    def __init__(self, python: Path, folder: Path) -> None:
        self._python, self._folder = python, folder
        self.next: list[list[str]] = []

    def __call__(self, *args: str, status: int = 0) -> str:
        """Run a program, expect its exit status, and return what it said."""
        done = started([str(self._python.with_name("kinebert")), *args], self._folder, {"COLUMNS": "80"})
        said = done.stdout + done.stderr
        assert done.returncode == status, f"kinebert {shlex.join(args)}\n{said}"
        assert "Traceback" not in said
        lines = re.search(r"[Nn]ext: (.*(?:\n      .*)*)", done.stdout)
        found = [line.strip().split("   ")[0] for line in lines[1].splitlines()] if lines else []
        self.next = [shlex.split(line)[1:] for line in found if line.startswith("kinebert ")]
        return said

    def follow(self, program: str, *more: str, instead: tuple[str, str] | None = None) -> str:
        """Do what was said to be next with ``program``, with options of one's own, and one word in another's place."""
        (words,) = [words for words in self.next if words[0] == program]
        if instead is not None:
            words = [instead[1] if word == instead[0] else word for word in words]
        return self(*words, *more)


def test_a_new_user_s_walk(python: Path, here: Path) -> None:
    walk = Walk(python, here)
    assert "Did you mean train?" in walk("trian", "own/flow", status=2)
    assert "from scratch" in walk("recipes", "list", "own")

    said = walk("index", "csv", "clips.csv", "--output", "manifest.parquet", "--split-name", "mine", "--val", "0.25")
    assert re.search(r"groups +\d+ +\d+ +\d+", said)
    assert "too few to choose an epoch by" in said
    manifest = walk.next[0][walk.next[0].index("--manifest") + 1]
    sets = ["--frames", "sets/rgb", "--flow", "sets/flow", "--width", "96", "--height", "64"]
    said = walk("extract", "--manifest", manifest, *sets)
    assert "48 of 48 videos" in said
    trainings = {words[1]: words for words in walk.next}
    assert set(trainings) == {"rgb", "flow"}
    assert "whole: 48 videos" in walk("verify", "sets/flow")
    walk("show", "sets/flow", "clips/fi1_xvid")

    for stream in ("rgb", "flow"):
        words = [f"own/{stream}" if word == stream else word for word in trainings[stream]]
        assert "nothing was trained" in walk(*words, *SHORTER, "--dry-run")
        said = walk(*words, *SHORTER)
        assert "validation top-1" in said
        said = walk.follow("evaluate")
        assert "majority" in said
        assert "top-5" not in said
    other = next(iter((here / "runs" / "rgb").glob("mine-test*/scores.parquet")))
    said = walk.follow("fuse", instead=("OTHER/scores.parquet", str(other)))
    assert "fused" in said

    said = walk("predict", "clips/fi1_xvid.mp4", "--checkpoint", "runs/rgb/best.pt", "runs/flow/best.pt")
    shares = [float(share) for share in re.findall(r"(?:fight|noFight) (\d+)%", said)]
    assert shares, said
    assert sum(shares[:2]) == pytest.approx(100, abs=1)
    walk("attend", "runs/flow/best.pt")
    assert "fights, version 1" in walk("register", "runs/flow/best.pt", "--name", "fights")
    fused = next(path for path in here.rglob("scores.parquet") if "runs" not in path.parts)
    said = walk("compare", "runs/rgb", "runs/flow", str(fused))
    assert "significant" in said

    with sqlite3.connect(here / "runs" / "mlflow.db") as store:
        kept = {name for (name,) in store.execute("select distinct key from latest_metrics")}
    assert {"top1", "val_top1", "val_loss", "mean_class"} <= kept
