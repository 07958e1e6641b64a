"""A cluster loses its raylet or its GCS: one line in time, nothing left, and the same command goes on."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.chaos.conftest import Launch, Undisturbed
from tests.helpers.given_clusters import given_cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
_SAID = "of this program's own Ray was killed or has crashed"
_SAID_OF_GIVEN = "no longer answers: it was stopped or killed, or cannot be reached"
_IN_TIME_S = 60.0
"""Ray itself needs more than a minute; the program needs some 10 s on a quiet machine."""


@pytest.mark.parametrize("victim", ["raylet", "gcs_server"])
@pytest.mark.parametrize("undisturbed", ["extract_flow", "train", "evaluate", "tune"], indirect=True)
def test_a_lost_cluster_is_told_in_a_line(
    undisturbed: Undisturbed, victim: str, given: Path, launch: Launch, tmp_path: Path
) -> None:
    name, *args = undisturbed.case.command(given, tmp_path / "out")
    program = launch(name, *args)
    busy = undisturbed.case.worker
    program.wait_for(lambda: any(busy in command for command in program.alive().values()), "work")
    (pid,) = [pid for pid, command in program.alive().items() if victim in command.split(" ")[0]]
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    status = program.wait(_IN_TIME_S)
    assert time.monotonic() - began < _IN_TIME_S
    program.wait_until_nothing_runs()
    assert not [folder for folder in program.cluster_folders if os.path.exists(folder)]
    printed = program.errors() + program.stdout_file.read_text()
    assert "Traceback" not in printed, printed
    assert "state-dump" not in printed, printed
    if status:  # without its GCS a program may come to its end all the same
        assert (status, program.errors().splitlines()[-1].count(_SAID)) == (2, 1), printed
    undisturbed.reached_by(launch(name, *args), tmp_path / "out")


@pytest.mark.parametrize("victim", ["gcs_server", ""])
@pytest.mark.parametrize("undisturbed", ["extract_frames", "train", "evaluate", "tune"], indirect=True)
def test_a_lost_head_of_a_given_cluster_is_told_in_a_line(
    undisturbed: Undisturbed, victim: str, given: Path, launch: Launch, tmp_path: Path
) -> None:
    """Its GCS, or all of its processes."""
    name, *args = undisturbed.case.command(given, tmp_path / "out")
    with given_cluster() as cluster:
        program = launch(name, *args, **cluster.env)
        busy = undisturbed.case.worker
        program.wait_for(lambda: any(busy in command for command in cluster.alive().values()), "work")
        cluster.kill(victim)
        status = program.wait(_IN_TIME_S)
    printed = program.errors() + program.stdout_file.read_text()
    assert "Traceback" not in printed, printed
    assert "task_manager" not in printed, printed
    assert "logging.cc" not in printed, printed
    assert "pid=" not in printed, printed
    if status:  # work that was nearly done may come to its end all the same
        assert (status, program.errors().splitlines()[-1].count(_SAID_OF_GIVEN)) == (2, 1), printed
    undisturbed.reached_by(launch(name, *args), tmp_path / "out")
