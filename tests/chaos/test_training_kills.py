"""Whoever is killed in a training or an evaluation: the run ends with the numbers of an undisturbed one."""

import importlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.training.checkpoints.state import load_state
from kinebert.training.evaluation.evaluate import read_scores
from tests.chaos.conftest import Launch, history
from tests.helpers.processes import Program
from tests.helpers.requirements import missing
from tests.helpers.sets import make_rows, make_set, small_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

if not Path("/proc/self/environ").exists():
    missing("system", "there is no /proc")

EPOCHS = 12
RECIPE = f"""
save_every_s = 0
amp = "fp64"
hang_after_s = 60
{small_recipe("{shards}", epochs=EPOCHS, head="bert")}
dropout = 0.2
[test]
clips = "multi"
crops = 10
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chaos")
    make_set(make_rows(folder / "videos", [9] * 24), folder / "set", FrameRecipe(resize="none"))
    path = folder / "tiny.toml"
    path.write_text(RECIPE.format(shards=folder / "set"))
    return path


@pytest.fixture(scope="module")
def undisturbed(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a program that nobody disturbs, and its evaluation."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for i, (name, args) in enumerate(
        [
            ("train", [str(recipe), "--output", str(folder / "run")]),
            ("evaluate", [str(folder / "run" / "best.pt"), "--part", "val", "--workers", "2", "--batch", "2"]),
        ]
    ):
        program = Program(name, args, folder / f"p{i}")
        assert program.wait(700) == 0, program.errors()
    return folder / "run"


def epochs_done(folder: Path) -> int:
    state = load_state(str(folder))
    return 0 if state is None else state.epoch


def named(program: Program, word: str) -> list[int]:
    return [pid for pid, command in program.alive().items() if word in command]


def test_a_killed_worker(launch: Launch, recipe: Path, undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    program = launch("train", str(recipe), "--output", str(run))
    program.wait_for(lambda: epochs_done(run) >= 2, "the second epoch", 400)
    for pid in named(program, "RayTrainWorker"):
        os.kill(pid, signal.SIGKILL)
    assert epochs_done(run) < EPOCHS
    assert program.wait(700) == 0, program.errors()
    assert "a worker was lost" in program.errors()
    assert history(run) == history(undisturbed)
    program.wait_until_nothing_runs(100)


def test_a_killed_driver_twice(launch: Launch, recipe: Path, undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for least in (1, 4):
        program = launch("train", str(recipe), "--output", str(run))
        program.wait_for(lambda least=least: epochs_done(run) >= least, f"epoch {least}", 400)  # type: ignore[misc]
        program.process.kill()
        program.wait_until_nobody_works(100)
        assert epochs_done(run) < EPOCHS
    last = launch("train", str(recipe), "--output", str(run))
    assert last.wait(700) == 0, last.errors()
    told = last.stdout_file.read_text()
    assert f"note: {run}: holds this training, begun earlier; going on in epoch" in told
    assert history(run) == history(undisturbed)


@pytest.fixture
def nodes() -> Iterator[Any]:
    """Three simulated nodes: a head, and two with a CPU each."""
    importlib.import_module("kinebert.orchestration.cluster")  # says what Ray reads at its import
    from ray.cluster_utils import Cluster

    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    found = Cluster(initialize_head=True, head_node_args={**node, "num_cpus": 0, "include_dashboard": False})
    try:
        found.add_node(**node)
        found.add_node(**node)
        found.wait_for_nodes()
        yield found
    finally:
        found.shutdown()


def joining(nodes: Any) -> dict[str, str]:
    """Environment of a program on such a cluster."""
    token = {name: os.environ[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN") if name in os.environ}
    waits = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "20"}
    return {"RAY_ADDRESS": nodes.address, **token, **waits}


def lose_one(nodes: Any) -> None:
    nodes.remove_node(next(iter(nodes.worker_nodes)), allow_graceful=False)


def test_a_killed_node_and_fewer_workers(
    launch: Launch, recipe: Path, undisturbed: Path, tmp_path: Path, nodes: Any
) -> None:
    """Two nodes with a worker each; one is gone, and the other does it all: the same numbers to 1e-6."""
    run = tmp_path / "run"
    args = ["--set", "workers=2", "min_workers=1", "--output", str(run)]
    program = launch("train", str(recipe), *args, **joining(nodes))
    program.wait_for(lambda: epochs_done(run) >= 2, "the second epoch", 400)
    lose_one(nodes)
    assert epochs_done(run) < EPOCHS
    assert program.wait(700) == 0, program.errors()
    assert "a worker was lost" in program.errors()
    assert "note: the cluster has room for 1 of 2 workers; they do all" in program.errors()
    for ours, theirs in zip(history(run), history(undisturbed), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-9)


def test_a_killed_node_in_an_evaluation(launch: Launch, undisturbed: Path, tmp_path: Path, nodes: Any) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(undisturbed / "best.pt", run)
    scores = run / "val-scores"
    args = ["--part", "val", "--workers", "2", "--output", str(scores), "--batch", "1", "--save-every-s", "0"]
    program = launch("evaluate", str(run / "best.pt"), *args, **joining(nodes))
    program.wait_for(lambda: list(scores.glob(".scored-*/*.npy")), "some scores", 400)
    lose_one(nodes)
    assert not (scores / "scores.parquet").exists()
    assert program.wait(700) == 0, program.errors()
    (expected,) = undisturbed.glob("*-val-multi-x10/scores.parquet")
    found = read_scores(str(scores / "scores.parquet"))
    assert found.video_ids == read_scores(str(expected)).video_ids
    np.testing.assert_allclose(found.scores, read_scores(str(expected)).scores, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("whom", ["worker", "driver"])
def test_killed_in_an_evaluation(launch: Launch, undisturbed: Path, tmp_path: Path, whom: str) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(undisturbed / "best.pt", run)
    args = [str(run / "best.pt"), "--part", "val", "--workers", "2", "--output", str(run / "val-scores")]
    args += ["--batch", "2", "--save-every-s", "0"]
    program = launch("evaluate", *args)
    at_work = program.wait_for(lambda: named(program, "ray::_Worker"), "a worker", 400)
    program.wait_for(lambda: list((run / "val-scores").glob(".scored-*/*.npy")), "some scores", 400)
    if whom == "driver":
        program.process.kill()
        program.wait_until_nobody_works(100)
        assert not (run / "val-scores" / "scores.parquet").exists()
        program = launch("evaluate", *args)
    else:
        for pid in at_work:
            os.kill(pid, signal.SIGKILL)
    assert program.wait(700) == 0, program.errors()
    assert ("views were scored before; going on" in program.stdout_file.read_text()) == (whom == "driver")
    assert not list((run / "val-scores").glob(".scored-*"))
    (expected,) = undisturbed.glob("*-val-multi-x10/scores.parquet")
    found = read_scores(str(run / "val-scores" / "scores.parquet"))
    assert found.video_ids == read_scores(str(expected)).video_ids
    np.testing.assert_array_equal(found.scores, read_scores(str(expected)).scores)
