"""A program that is interrupted, suspended or whose clock is set: it ends in a word, or goes on to the same result."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.chaos.conftest import CASES, Launch, Undisturbed, environment
from tests.helpers.processes import Program
from tests.helpers.requirements import missing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
if not Path("/proc/self/environ").exists():
    missing("system", "there is no /proc")

HANG_S = 15
SILENCE_S = 10
JUMPING_CLOCK = """
import os
import time as clock

plain = clock.time

def time():
    return plain() + ({jump} if os.path.exists({flag!r}) else 0.0)

time.__module__ = "time"  # or what holds it could not be sent to other processes
clock.time = time
"""


def begun(program: Program, worker: str, longer_s: float = 3) -> list[int]:
    """Wait until some process works, and a little longer; return those that do."""
    working = program.wait_for(lambda: [pid for pid, line in program.alive().items() if worker in line], "a worker")
    time.sleep(longer_s)
    return working


@pytest.mark.parametrize("undisturbed", CASES, indirect=True)
def test_interrupted_in_a_terminal(launch: Launch, given: Path, tmp_path: Path, undisturbed: Undisturbed) -> None:
    """Ctrl-C comes to all processes of the terminal's job at once. The same command goes on."""
    name, *args = undisturbed.case.command(given, tmp_path / "out")
    first = launch(name, *args)
    begun(first, undisturbed.case.worker)
    os.killpg(first.process.pid, signal.SIGINT)
    assert first.wait(60) == 130, first.errors()
    assert first.errors().splitlines()[-1] == "interrupted; run the same command again to continue"
    assert "Traceback" not in first.errors()
    first.wait_until_nothing_runs(60)
    assert not any(Path(folder).exists() for folder in first.cluster_folders)
    undisturbed.reached_by(launch(name, *args), tmp_path / "out")


@pytest.mark.parametrize("whom", ["driver", "worker", "everything"])
@pytest.mark.parametrize("undisturbed", CASES, indirect=True)
def test_suspended_for_a_while(
    launch: Launch, given: Path, tmp_path: Path, undisturbed: Undisturbed, whom: str
) -> None:
    """As by Ctrl-Z and fg, by a debugger, or by a lid that is closed."""
    name, *args = undisturbed.case.command(given, tmp_path / "out")
    program = launch(name, *args)
    working = begun(program, undisturbed.case.worker)
    stopped = {"driver": [program.process.pid], "worker": working[:1], "everything": list(program.alive())}[whom]
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in stopped:
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, number)
        time.sleep(10 if number == signal.SIGSTOP else 0)
    assert program.wait(600) == 0, program.errors()
    assert "Traceback" not in program.errors()
    assert undisturbed.case.result(tmp_path / "out") == undisturbed.result


@pytest.mark.parametrize("undisturbed", ["train"], indirect=True)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_is_stopped_for_good_is_ended(
    launch: Launch, given: Path, tmp_path: Path, undisturbed: Undisturbed, workers: int
) -> None:
    """It cannot say so itself; of two, the other one can say what it waits for."""
    name, *args = undisturbed.case.command(given, tmp_path / "out")
    program = launch(name, *args, "--set", f"workers={workers}", f"hang_after_s={HANG_S}", "epochs=12")
    program.wait_for(lambda: "epoch 2/12" in program.errors(), "two epochs", 300)
    os.kill(begun(program, undisturbed.case.worker, 0)[-1], signal.SIGSTOP)  # it may be done in seconds
    assert program.wait(600) == 0, program.errors()
    told = {1: "rank 0 no longer answers: stopped, perhaps, by a signal", 2: "no longer answers, while rank "}
    assert told[workers] in program.errors()
    assert "going on from the last saved state" in program.errors()


@pytest.mark.parametrize(
    "undisturbed", ["extract_frames", "extract_flow", "extract_pose", "evaluate", "tune"], indirect=True
)
def test_a_worker_that_is_stopped_for_good_is_killed(
    launch: Launch, given: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    """What comes of its work is what comes of that of any other that is killed."""
    name, *args = undisturbed.case.command(given, tmp_path / "out")
    program = launch(name, *args, KINEBERT_SILENCE_S=str(SILENCE_S))
    begun(program, undisturbed.case.worker, 0 if "extract" in name else 3)
    if "extract" in name:
        program.wait_for(lambda: list((tmp_path / "out").glob("*.parquet")), "a shard")
    victims = begun(program, undisturbed.case.worker, 0)  # between two tasks there is none
    for pid in victims:
        os.kill(pid, signal.SIGSTOP)
    assert program.wait(600) == 0, program.errors()
    assert [program.errors().count(f"process {pid} on ") for pid in victims] == [1] * len(victims)
    assert f"gave no sign of life for {SILENCE_S} s: stopped, perhaps, by a signal" in program.errors()
    assert "Traceback" not in program.errors()
    assert undisturbed.case.result(tmp_path / "out") == undisturbed.result


@pytest.mark.parametrize("jump_s", [-86400.0, 86400.0])
@pytest.mark.parametrize("undisturbed", CASES, indirect=True)
def test_a_clock_that_is_set(
    launch: Launch, given: Path, tmp_path: Path, undisturbed: Undisturbed, jump_s: float
) -> None:
    """By a day, in all processes at once, in the middle."""
    flag = tmp_path / "flag"
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(JUMPING_CLOCK.format(jump=jump_s, flag=str(flag)))
    name, *args = undisturbed.case.command(given, tmp_path / "out")
    for folder in environment(name).values():  # of two such files, one is imported
        with (tmp_path / "clock" / "sitecustomize.py").open("a") as file:
            file.write((Path(folder) / "sitecustomize.py").read_text())
    program = launch(name, *args, MORE_PYTHONPATH=str(tmp_path / "clock"))
    begun(program, undisturbed.case.worker)
    flag.touch()
    assert program.wait(600) == 0, program.errors()
    assert "Traceback" not in program.errors()
    assert undisturbed.case.result(tmp_path / "out") == undisturbed.result
