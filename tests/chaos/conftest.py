"""What all of these tests start and end, programs among them, and what nothing that befalls those may change."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kinebert.orchestration.search.records import Record, load_records
from kinebert.preprocessing.datasets.manifest import write_manifest
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.training.checkpoints.state import load_state
from kinebert.training.evaluation.evaluate import read_scores
from tests.helpers.poses import PLUGIN, write_weights
from tests.helpers.processes import Program
from tests.helpers.sets import make_rows, make_set, small_recipe

Launch = Callable[..., Program]
_RECIPE = 'save_every_s = 0\namp = "fp64"\n{table}\n[test]\nclips = "multi"\ncrops = 10\n'
_TUNE = '[tune]\ntrials = 3\nscheduler = "none"\n[tune.space]\n"optim.lr" = { log_uniform = [1e-5, 1e-2] }\n'


def environment(name: str) -> dict[str, str]:
    """What a program needs in its environment: that of poses, a backend without networks."""
    return {"MORE_PYTHONPATH": PLUGIN} if name == "extract_pose" else {}


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Start a program of ours by its name and arguments; keyword arguments are added to its environment."""
    programs: list[Program] = []

    def begin(name: str, *args: str, **env: str) -> Program:
        programs.append(Program(name, list(args), tmp_path / f"p{len(programs)}", **{**environment(name), **env}))
        return programs[-1]

    yield begin
    for program in programs:
        program.tidy_up()


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest, a set of shards, recipes of a training and of a search, and a trained checkpoint."""
    folder = tmp_path_factory.mktemp("given")
    rows = make_rows(folder / "videos", [40] * 18)
    write_manifest(str(folder / "manifest.parquet"), rows)
    make_set(rows, folder / "set", FrameRecipe(resize="none"))
    write_weights(folder, "weights.bin")
    recipe = _RECIPE.format(table=small_recipe(folder / "set", epochs=8, head="bert"))
    (folder / "train.toml").write_text(recipe)
    (folder / "tune.toml").write_text(recipe + _TUNE)
    program = Program("train", [str(folder / "train.toml"), "--output", str(folder / "run")], folder / "program")
    assert program.wait(600) == 0, program.errors()
    return folder


def _shard_bytes(output: Path) -> dict[str, bytes]:
    return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*") if path.is_file()}


def history(output: Path) -> list[dict[str, Any]]:
    """The numbers of the epochs, without what a clock measures."""
    return _unclocked(json.loads((output / "history.json").read_text()))


def outcome(records: Sequence[Record]) -> list[Any]:
    """What of the trials of a search does not depend on how long anything took."""
    return [(r.number, r.values, r.seed, r.state, r.takeovers, _unclocked(r.rows)) for r in records]


def _unclocked(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    left_out = ("seconds", "clips_per_s", "data_wait", "order")
    return [{name: value for name, value in row.items() if name not in left_out} for row in rows]


def _weights(output: Path) -> tuple[list[dict[str, Any]], dict[str, list[float]]]:
    state = load_state(str(output))
    assert state is not None
    return history(output), {name: tensor.flatten().tolist() for name, tensor in state.weights.items()}


def _scores(output: Path) -> tuple[list[str], bytes]:
    assert not list(output.glob(".scored-*"))
    found = read_scores(str(output / "scores.parquet"))
    return list(found.video_ids), found.scores.tobytes()


def _trials(output: Path) -> list[Any]:
    return outcome(load_records(str(output)))


@dataclass(frozen=True)
class Case:
    """A program, how its working processes are called, and what of its output must not depend on any kill."""

    line: str
    worker: str
    result: Callable[[Path], Any]

    def command(self, given: Path, output: Path) -> list[str]:
        """Return the program and its arguments."""
        return self.line.format(given=given, output=output).split()


CASES = {
    "extract_frames": Case(
        "extract_frames --manifest {given}/manifest.parquet --resize none --videos-per-shard 2 --output {output}",
        "ray::Map",
        _shard_bytes,
    ),
    "extract_flow": Case(
        "extract_flow --manifest {given}/manifest.parquet --resize none --backend numba --videos-per-shard 2 "
        "--output {output}",
        "ray::Map",
        _shard_bytes,
    ),
    "extract_pose": Case(
        "extract_pose --manifest {given}/manifest.parquet --backend bright --weights {given}/weights.bin --resize none "
        "--videos-per-shard 2 --output {output}",
        "ray::Map",
        _shard_bytes,
    ),
    "train": Case("train {given}/train.toml --output {output}", "RayTrainWorker", _weights),
    "evaluate": Case(
        "evaluate {given}/run/best.pt --part val --workers 2 --batch 1 --save-every-s 0 --output {output}",
        "ray::_Worker",
        _scores,
    ),
    "tune": Case("tune {given}/tune.toml --output {output}", "ray::ImplicitFunc", _trials),
}


@dataclass(frozen=True)
class Undisturbed:
    """A case, its result, and how long it takes."""

    case: Case
    result: Any
    seconds: float

    def reached_by(self, program: Program, output: Path) -> None:
        """Make sure that a program comes to its end, and to this result."""
        assert program.wait(600) == 0, program.errors()
        assert self.case.result(output) == self.result


@pytest.fixture(scope="module")
def undisturbed(request: pytest.FixtureRequest, given: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The case that a test names, after a run that nobody has disturbed."""
    case: Case = CASES[request.param]
    folder = tmp_path_factory.mktemp("undisturbed")
    name, *args = case.command(given, folder / "out")
    began = time.monotonic()
    program = Program(name, args, folder / "program", **environment(name))
    assert program.wait(600) == 0, program.errors()
    return Undisturbed(case, case.result(folder / "out"), time.monotonic() - began)
