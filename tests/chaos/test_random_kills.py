"""Whoever of a program is killed, at moments that are drawn: in the end there is what an undisturbed run leaves."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

import pytest

from kinebert.orchestration.search.records import load_records
from kinebert.preprocessing.datasets.manifest import write_manifest
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.training.checkpoints.state import load_state
from kinebert.training.evaluation.evaluate import read_scores
from tests.chaos.conftest import Launch
from tests.helpers.processes import Program
from tests.helpers.requirements import missing
from tests.helpers.sets import make_rows, make_set, small_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
if not Path("/proc/self/environ").exists():
    missing("system", "there is no /proc")

KILLS = 4
"""In one test, before the program is left alone."""
RECIPE = 'save_every_s = 0\namp = "fp64"\n{table}\n[test]\nclips = "multi"\ncrops = 10\n'
TUNE = '[tune]\ntrials = 3\nscheduler = "none"\n[tune.space]\n"optim.lr" = { log_uniform = [1e-5, 1e-2] }\n'


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest, a set of shards, recipes of a training and of a search, and a trained checkpoint."""
    folder = tmp_path_factory.mktemp("given")
    rows = make_rows(folder / "videos", [40] * 18)
    write_manifest(str(folder / "manifest.parquet"), rows)
    make_set(rows, folder / "set", FrameRecipe(resize="none"))
    recipe = RECIPE.format(table=small_recipe(folder / "set", epochs=8, head="bert"))
    (folder / "train.toml").write_text(recipe)
    (folder / "tune.toml").write_text(recipe + TUNE)
    program = Program("train", [str(folder / "train.toml"), "--output", str(folder / "run")], folder / "program")
    assert program.wait(600) == 0, program.errors()
    return folder


def shard_bytes(output: Path) -> dict[str, bytes]:
    return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*") if path.is_file()}


def history(output: Path) -> list[dict[str, Any]]:
    rows = json.loads((output / "history.json").read_text())
    return [{name: value for name, value in row.items() if name not in ("seconds", "clips_per_s")} for row in rows]


def weights(output: Path) -> tuple[list[dict[str, Any]], dict[str, list[float]]]:
    state = load_state(str(output))
    assert state is not None
    return history(output), {name: tensor.flatten().tolist() for name, tensor in state.weights.items()}


def scores(output: Path) -> tuple[list[str], bytes]:
    assert not list(output.glob(".scored-*"))
    found = read_scores(str(output / "scores.parquet"))
    return list(found.video_ids), found.scores.tobytes()


def trials(output: Path) -> list[Any]:
    left_out = ("seconds", "clips_per_s", "data_wait", "order")
    return [
        (r.number, r.values, r.seed, r.state, [{k: v for k, v in row.items() if k not in left_out} for row in r.rows])
        for r in load_records(str(output))
    ]


@dataclass(frozen=True)
class Case:
    """A program, how its working processes are called, and what of its output must not depend on any kill."""

    line: str
    worker: str
    result: Callable[[Path], Any]


CASES = {
    "extract_frames": Case(
        "extract_frames --manifest {given}/manifest.parquet --resize none --videos-per-shard 2 --output {output}",
        "ray::Map",
        shard_bytes,
    ),
    "extract_flow": Case(
        "extract_flow --manifest {given}/manifest.parquet --resize none --backend numba --videos-per-shard 2 "
        "--output {output}",
        "ray::Map",
        shard_bytes,
    ),
    "train": Case("train {given}/train.toml --output {output}", "RayTrainWorker", weights),
    "evaluate": Case(
        "evaluate {given}/run/best.pt --part val --workers 2 --batch 1 --save-every-s 0 --output {output}",
        "ray::_Worker",
        scores,
    ),
    "tune": Case("tune {given}/tune.toml --output {output}", "ray::ImplicitFunc", trials),
}


@pytest.fixture(scope="module")
def undisturbed(
    request: pytest.FixtureRequest, given: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Case, Any, float]:
    """A case, its result, and how long it takes in seconds."""
    case: Case = CASES[request.param]
    folder = tmp_path_factory.mktemp("undisturbed")
    name, *args = case.line.format(given=given, output=folder / "out").split()
    began = time.monotonic()
    program = Program(name, args, folder / "program")
    assert program.wait(600) == 0, program.errors()
    return case, case.result(folder / "out"), time.monotonic() - began


def kill(program: Program, whom: str, worker: str) -> bool:
    """Kill the driver, one that works, or everything at once as a loss of power does; tell if the program is dead."""
    alive = program.alive()
    working = [pid for pid, command in alive.items() if worker in command]
    victims = {"driver": [program.process.pid], "worker": working[:1], "everything": list(alive)}[whom]
    for pid in victims:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return whom != "worker"


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("undisturbed", CASES, indirect=True)
def test_killed_at_random(
    launch: Launch, given: Path, tmp_path: Path, undisturbed: tuple[Case, Any, float], seed: int
) -> None:
    case, expected, duration_s = undisturbed
    name, *args = case.line.format(given=given, output=tmp_path / "out").split()
    draw = random.Random(f"{name} {seed}")
    program = launch(name, *args)
    for _ in range(KILLS):
        with suppress(TimeoutExpired):
            assert program.wait(draw.uniform(0.05, 0.95) * duration_s) == 0, program.errors()
            break
        if kill(program, draw.choice(["driver", "worker", "everything"]), case.worker):
            program.wait_until_nobody_works(120)
            assert "Traceback" not in program.errors()
            for folder in program.cluster_folders:  # who is killed cannot tidy up
                shutil.rmtree(folder, ignore_errors=True)
            program = launch(name, *args)
    assert program.wait(900) == 0, program.errors()
    assert "Traceback" not in program.errors()
    assert case.result(tmp_path / "out") == expected
