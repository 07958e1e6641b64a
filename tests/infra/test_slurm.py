"""The batch script of Slurm, run with programs in the place of Slurm's and Ray's, which write down what they hear."""

import os
import re
import shlex
import signal
import stat
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.helpers.infra_files import INFRA, checked, program

SCRIPT = INFRA / "slurm" / "kinebert.sbatch"
README = (INFRA / "README.md").read_text()
HEARD = 'printf "%s" "$(basename "$0")" >>"$LOG"; printf " %q" "$@" >>"$LOG"; echo >>"$LOG"\n'
FAKES = {
    # runs what stands behind its options
    "srun": 'while [ "${1#--}" != "$1" ]; do shift; done; "$@"\n',
    # keeps the token it is given, and runs what stands behind --, as the head does
    "ray": """
        cp -p "$RAY_AUTH_TOKEN_PATH" "$SEEN"
        [ "$RAY_AUTH_MODE" = token ] || exit 9
        [ -z "${HEAD_FAILS:-}" ] || exit 0
        while [ "$1" != -- ]; do shift; done; shift; "$@"
    """,
    "kinebert": 'echo "joins ${RAY_ADDRESS:-none}" >>"$LOG"; echo begun; eval "${PROGRAM:-:}"\n',
    "scontrol": 'eval "${REQUEUE:-:}"\n',
}


@dataclass
class Slurm:
    """A place where the script runs, and what was heard there."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *words: str, **environment: str) -> "subprocess.Popen[str]":
        """Run the script as a job with the number 123456."""
        given = {**os.environ, **self.environment, "SLURM_JOB_ID": "123456", "SLURM_CPUS_ON_NODE": "8", **environment}
        return subprocess.Popen([SCRIPT, *words], env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *words: str, **environment: str) -> tuple[int, str]:
        """Exit status, and what it complains of."""
        job = self.start(*words, **environment)
        _, told = job.communicate(timeout=60)
        return job.returncode, told

    def log(self) -> list[list[str]]:
        """Command lines, in their order."""
        path = self.folder / "log"
        return [shlex.split(line) for line in path.read_text().splitlines()] if path.exists() else []

    def of(self, name: str) -> list[list[str]]:
        """Command lines of one program."""
        return [words[1:] for words in self.log() if words[0] == name]


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in FAKES.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{HEARD}{text}")
        (folder / name).chmod(0o755)
    kept = {name: str(tmp_path / name.lower()) for name in ("LOG", "SEEN")}
    home = {"HOME": str(tmp_path), "PATH": f"{folder}:{os.environ['PATH']}"}
    return Slurm(tmp_path, {**kept, **home})


def left_behind(slurm: Slurm) -> list[str]:
    return [path.name for path in (slurm.folder / ".kinebert" / "slurm").iterdir()]


def test_one_node_needs_no_cluster(slurm: Slurm) -> None:
    assert slurm.run("train", "rgb", "--output", "/data/a b") == (0, "")
    assert [words[0] for words in slurm.log()] == ["srun", "kinebert", "joins"]
    assert slurm.of("kinebert") == [["train", "rgb", "--output", "/data/a b"]]
    assert slurm.of("joins") == [["none"]]
    assert "--cpus-per-task=8" in slurm.of("srun")[0]


def test_several_nodes_get_a_cluster_that_the_program_joins(slurm: Slurm) -> None:
    code, told = slurm.run("train", "rgb", SLURM_JOB_NUM_NODES="4", KINEBERT_HEAD_ADDRESS="10.0.0.7")
    assert (code, told) == (0, "")
    assert [words[0] for words in slurm.log()] == ["srun", "ray", "kinebert", "joins"]
    assert {"--ntasks=4", "--ntasks-per-node=1"} <= {*slurm.of("srun")[0]}
    (ray,) = slurm.of("ray")
    assert ray[:5] == ["symmetric-run", "--address", "10.0.0.7:23456", "--min-nodes", "4"]
    assert "--num-cpus=8" in ray
    assert slurm.of("joins") == [["10.0.0.7:23456"]]


def test_the_token_is_the_jobs_alone_and_on_no_command_line(slurm: Slurm) -> None:
    before = os.umask(0)
    try:
        assert slurm.run("doctor", SLURM_JOB_NUM_NODES="2")[0] == 0
    finally:
        os.umask(before)
    seen = slurm.folder / "seen"
    token = seen.read_text()
    assert re.fullmatch("[0-9a-f]{64}", token)
    assert stat.S_IMODE(seen.stat().st_mode) == 0o600
    assert token not in (slurm.folder / "log").read_text()
    assert stat.S_IMODE((slurm.folder / ".kinebert" / "slurm").stat().st_mode) == 0o700
    assert left_behind(slurm) == []
    assert slurm.run("doctor", SLURM_JOB_NUM_NODES="2")[0] == 0
    assert seen.read_text() != token


def test_ports_of_jobs_are_below_those_that_the_system_gives_away(slurm: Slurm) -> None:
    for job in ("1", "9999", "123457"):
        assert slurm.run("doctor", SLURM_JOB_NUM_NODES="2", SLURM_JOB_ID=job)[0] == 0
    ports = [int(words[2].rpartition(":")[2]) for words in slurm.of("ray")]
    assert ports == [20001, 29999, 23457]
    assert max(ports) < 32768


@pytest.mark.parametrize("nodes", ["1", "3"])
@pytest.mark.parametrize("status", [0, 1, 2])
def test_the_jobs_exit_status_is_the_programs(slurm: Slurm, nodes: str, status: int) -> None:
    assert slurm.run("train", "rgb", SLURM_JOB_NUM_NODES=nodes, PROGRAM=f"exit {status}")[0] == status
    assert slurm.of("scontrol") == []


def test_a_cluster_that_does_not_start_is_no_success(slurm: Slurm) -> None:
    code, told = slurm.run("train", "rgb", SLURM_JOB_NUM_NODES="3", HEAD_FAILS="1")
    assert code == 1
    assert "Ray did not start on 3 nodes" in told
    assert slurm.of("kinebert") == []


def test_an_array_gives_each_task_its_own_words(slurm: Slurm) -> None:
    words = ("train", "rgb", "--set", "seed=%a", "--output", "/runs/seed-%a")
    assert slurm.run(*words, SLURM_ARRAY_TASK_ID="3")[0] == 0
    assert slurm.of("kinebert") == [["train", "rgb", "--set", "seed=3", "--output", "/runs/seed-3"]]


def test_without_a_program_it_says_how(slurm: Slurm) -> None:
    code, told = slurm.run()
    assert code == 2
    assert "sbatch infra/slurm/kinebert.sbatch train" in told


def noticed(slurm: Slurm, **environment: str) -> tuple[int, str]:
    """A job whose time ends while its program runs, and what comes of it."""
    program = f"until [ -e {slurm.folder / 'end'} ]; do sleep 0.02; done; exit 3"
    job = slurm.start("train", "rgb", PROGRAM=program, **environment)
    assert job.stdout is not None
    assert job.stdout.readline() == "begun\n"
    job.send_signal(signal.SIGUSR1)
    time.sleep(0.3)
    assert job.poll() is None, "the program is not ended by the notice"
    (slurm.folder / "end").touch()
    _, told = job.communicate(timeout=60)
    return job.returncode, told


@pytest.mark.parametrize("nodes", ["1", "2"])
def test_a_job_whose_time_ends_is_put_back_into_the_queue_once(slurm: Slurm, nodes: str) -> None:
    code, told = noticed(slurm, SLURM_JOB_NUM_NODES=nodes)
    assert slurm.of("scontrol") == [["requeue", "123456"]]
    assert "goes back into the queue" in told
    assert code == 3


def test_a_job_that_was_begun_too_often_is_not(slurm: Slurm) -> None:
    _, told = noticed(slurm, SLURM_RESTART_COUNT="2", KINEBERT_SLURM_RESTARTS="2")
    assert slurm.of("scontrol") == []
    assert "was begun 2 times again" in told


def test_a_queue_that_does_not_take_it_leaves_it_running(slurm: Slurm) -> None:
    code, told = noticed(slurm, REQUEUE="exit 1")
    assert len(slurm.of("scontrol")) == 1
    assert "goes back" not in told
    assert code == 3


def test_slurm_is_asked_for_notice_and_to_queue_again() -> None:
    asked = re.findall(r"^#SBATCH (--\S+)", SCRIPT.read_text(), re.MULTILINE)
    assert {"--requeue", "--signal=B:USR1@300", "--open-mode=append", "--ntasks-per-node=1"} <= {*asked}


def test_shellcheck_finds_nothing_in_it() -> None:
    checked(program("shellcheck"), str(SCRIPT))


def test_examples_reach_the_program(slurm: Slurm) -> None:
    """Whether it understands them is tested with all other commands."""
    examples = re.findall(r"^sbatch (.*) infra/slurm/kinebert\.sbatch (.*)$", README, re.MULTILINE)
    assert len(examples) >= 4
    for options, words in examples:
        assert ("--nodes" in options) == ("--exclusive" in options), "nodes of a cluster are the job's alone"
        assert ("--array" in options) == ("%a" in words)
        assert slurm.run(*shlex.split(words), SLURM_ARRAY_TASK_ID="2")[0] == 0
        assert slurm.of("kinebert")[-1] == shlex.split(words.replace("%a", "2"))
