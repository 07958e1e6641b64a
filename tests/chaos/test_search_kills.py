"""A search whose programs are killed in the middle: run again, it repeats no finished trial and leaves no run open."""

import importlib
import json
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from kinebert.orchestration.search.records import Record, load_records
from kinebert.preprocessing.recipe import FrameRecipe
from tests.chaos.conftest import Launch, outcome
from tests.helpers.processes import Program
from tests.helpers.requirements import missing
from tests.helpers.sets import make_rows, make_set, small_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
if not Path("/proc/self/environ").exists():
    missing("system", "there is no /proc")

SEARCH = """\
[tune]
trials = 4
scheduler = "{scheduler}"
interval = 4
[tune.space]
"optim.lr" = {{ log_uniform = [1e-5, 1e-2] }}
"model.dropout" = {{ uniform = [0.0, 0.5] }}
"""
Start = Callable[..., Program]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("chaos")
    return make_set(make_rows(folder / "videos", [6] * 12), folder / "rgb", FrameRecipe(resize="none")).uri


@pytest.fixture
def start(shards: str, tmp_path: Path, launch: Launch) -> Start:
    def search(name: str, scheduler: str, *sets: str, **env: str) -> Program:
        recipe = tmp_path / f"{scheduler}.toml"
        recipe.write_text(small_recipe(shards, epochs=8) + SEARCH.format(scheduler=scheduler))
        return launch("tune", str(recipe), "--output", str(tmp_path / name), *(["--set", *sets] if sets else []), **env)

    return search


def trials(folder: Path) -> list[Record]:
    return load_records(str(folder))


def trainers(program: Program) -> list[int]:
    """Processes that trials run in."""
    return [pid for pid, command in program.alive().items() if command.startswith("ray::ImplicitFunc")]


def trains_on(node: Any) -> bool:
    """Whether a trial trains on a simulated node at this moment; between two of its legs it would lose nothing."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    for child in raylet.children(recursive=True):
        with suppress(psutil.Error):
            if " ".join(child.cmdline()).startswith("ray::ImplicitFunc.train"):
                return True
    return False


def statuses(folder: Path) -> list[str]:
    with sqlite3.connect(folder.parent / "mlflow.db") as store:
        return [status for (status,) in store.execute("select status from runs")]


@pytest.mark.parametrize(
    ("scheduler", "epochs", "sets"), [("none", 12, ()), ("pbt", 12, ()), ("asha", 9, ("tune.concurrent=1",))]
)
def test_a_killed_driver(start: Start, tmp_path: Path, scheduler: str, epochs: int, sets: tuple[str, ...]) -> None:
    undisturbed = start("whole", scheduler, *sets)
    assert undisturbed.wait(600) == 0, undisturbed.errors()
    expected = outcome(trials(tmp_path / "whole"))
    assert set(statuses(tmp_path / "whole")) == {"FINISHED"}

    first = start("killed", scheduler, *sets)
    first.wait_for(lambda: sum(len(r.rows) for r in trials(tmp_path / "killed")) >= epochs, "some epochs", 300)
    first.process.kill()
    first.wait_until_nobody_works(120)
    before = trials(tmp_path / "killed")
    assert "RUNNING" in statuses(tmp_path / "killed")
    second = start("killed", scheduler, *sets)
    assert second.wait(600) == 0, second.errors()
    after = trials(tmp_path / "killed")
    assert outcome(after) == expected
    for old, new in zip(before, after, strict=False):
        assert new.rows[: len(old.rows)] == old.rows  # of what was heard, nothing was done again
    left = sorted(statuses(tmp_path / "killed"))
    assert left[:10] == ["FINISHED"] * 10  # both searches share a store; a parent and four children each
    assert left[10:] in ([], ["KILLED"])  # a child that was made in the moment of the kill, which nobody knows of
    assert "Traceback" not in second.errors()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_trial_goes_on(start: Start, tmp_path: Path, workers: int) -> None:
    """Also one with workers of its own, which hold the whole machine: they are let go before the trial goes on."""
    sets = ("tune.trials=2", "tune.concurrent=1", "epochs=40", f"workers={workers}")
    undisturbed = start("whole", "none", *sets)
    assert undisturbed.wait(600) == 0, undisturbed.errors()
    program = start("worker", "none", *sets)
    program.wait_for(lambda: [r for r in trials(tmp_path / "worker") if r.epoch >= 3], "three epochs", 300)
    found = program.wait_for(lambda: trainers(program), "a process that trains")
    os.kill(found[0], signal.SIGKILL)
    assert program.wait(600) == 0, program.errors()
    assert "trial 0: its process was lost" in program.errors()
    assert outcome(trials(tmp_path / "worker")) == outcome(trials(tmp_path / "whole"))


@pytest.mark.parametrize("scheduler", ["none", "pbt"])
def test_a_killed_node(start: Start, tmp_path: Path, scheduler: str) -> None:
    """Two nodes with a trial each; one is gone, and the other does all that is left."""
    sets = ("epochs=40", "tune.trials=3")
    undisturbed = start("whole", scheduler, *sets)
    assert undisturbed.wait(600) == 0, undisturbed.errors()
    importlib.import_module("kinebert.orchestration.cluster")  # says what Ray reads at its import
    from ray.cluster_utils import Cluster

    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    nodes = Cluster(initialize_head=True, head_node_args={**node, "num_cpus": 0, "include_dashboard": False})
    try:
        lost = nodes.add_node(**node)
        nodes.add_node(**node)
        nodes.wait_for_nodes()
        token = {name: os.environ[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN") if name in os.environ}
        loopback = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
        program = start("node", scheduler, *sets, RAY_ADDRESS=nodes.address, **token, **loopback)
        program.wait_for(
            lambda: sum(2 <= r.epoch < 30 for r in trials(tmp_path / "node")) >= 2, "trials on both nodes", 400
        )
        program.wait_for(lambda: trains_on(lost), "a trial that trains on the node", 400)
        nodes.remove_node(lost, allow_graceful=False)
        assert not all(record.ended for record in trials(tmp_path / "node"))
        assert program.wait(700) == 0, program.errors()
    finally:
        nodes.shutdown()
    assert outcome(trials(tmp_path / "node")) == outcome(trials(tmp_path / "whole"))
    assert set(statuses(tmp_path / "node")) == {"FINISHED"}
    assert "its process was lost" in program.errors()


def test_a_program_that_is_told_to_end_leaves_no_run_open(start: Start, tmp_path: Path) -> None:
    program = start("told", "none")
    program.wait_for(lambda: [r for r in trials(tmp_path / "told") if r.epoch >= 2], "two epochs", 300)
    program.process.send_signal(signal.SIGTERM)
    assert program.wait(60) == 143, program.errors()
    assert "RUNNING" not in statuses(tmp_path / "told")
    assert program.errors().splitlines()[-1] == "terminated; run the same command again to continue"
    assert "Traceback" not in program.errors()
    again = start("told", "none")
    assert again.wait(600) == 0, again.errors()
    assert set(statuses(tmp_path / "told")) == {"FINISHED"}
    assert json.loads((tmp_path / "told" / "search.json").read_text())["tune"]["scheduler"] == "none"


def test_two_searches_in_one_folder(start: Start, tmp_path: Path) -> None:
    first = start("same", "none")
    first.wait_for(lambda: trials(tmp_path / "same"), "a trial", 300)
    second = start("same", "none")
    assert second.wait(300) == 2
    (line,) = second.errors().splitlines()
    assert line.endswith("another kinebert tune works here. Wait for its end, or end it.")
