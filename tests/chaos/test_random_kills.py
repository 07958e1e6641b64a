"""Whoever of a program is killed, at moments that are drawn: in the end there is what an undisturbed run leaves."""

import os
import random
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from subprocess import TimeoutExpired

import pytest

from tests.chaos.conftest import CASES, Launch, Undisturbed
from tests.helpers.processes import Program
from tests.helpers.requirements import missing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
if not Path("/proc/self/environ").exists():
    missing("system", "there is no /proc")

KILLS = 4
"""In one test, before the program is left alone."""


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
def test_killed_at_random(launch: Launch, given: Path, tmp_path: Path, undisturbed: Undisturbed, seed: int) -> None:
    case, duration_s = undisturbed.case, undisturbed.seconds
    name, *args = case.command(given, tmp_path / "out")
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
    assert case.result(tmp_path / "out") == undisturbed.result
