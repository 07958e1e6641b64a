"""The batch script under Slurm itself, on two nodes: one that computes, two that make a set, one that is taken back."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.infra_files import INFRA, program
from tests.helpers.paths import ROOT
from tests.helpers.sets import make_videos, small_recipe
from tests.helpers.two_nodes import ADDRESSES, Node, joined

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

SCRIPT = str(INFRA / "slurm" / "kinebert.sbatch")
CONF = """
ClusterName=kinebert
SlurmctldHost=first({first})
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir=/tmp/spool
SlurmctldPidFile=/tmp/slurmctld.pid
SlurmdPidFile=/tmp/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
MailProg=/bin/true
NodeName=first NodeAddr={first} CPUs=2
NodeName=second NodeAddr={second} CPUs=2
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Queue:
    """A Slurm of two nodes, which see one folder together."""

    def __init__(self, login: Node, folder: Path) -> None:
        self.folder, self._login = folder, login

    def run(self, *words: str, timeout_s: float = 600) -> tuple[int, str]:
        """Run a command in the folder that all see; its status, and what it prints."""
        done = self._login.run("env", f"--chdir={self.folder}", *words, timeout_s=timeout_s)
        return done.returncode, done.stdout

    def batch(self, *words: str, wait: bool = True) -> tuple[int, str, str]:
        """Submit the script; the job's status if it is waited for, its number, and its log so far."""
        status, told = self.run("sbatch", "--parsable", *(["--wait"] if wait else []), *words)
        number = told.split()[0]
        return status, number, "".join(path.read_text() for path in sorted(self.folder.glob(f"slurm-{number}*.out")))

    def state(self, number: str) -> tuple[str, int]:
        """What a job does, and how often it was begun again."""
        _, told = self.run("scontrol", "show", "job", number)
        found = re.search(r"JobState=(\w+)", told), re.search(r"Restarts=(\d+)", told)
        assert found[0] is not None
        assert found[1] is not None, told
        return found[0][1], int(found[1][1])


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queue]:
    for name in ("slurmctld", "slurmd", "sbatch"):
        program(name, "slurm")
    folder = tmp_path_factory.mktemp("slurm")
    (folder / "state").mkdir()
    (folder / "home").mkdir()
    make_videos(folder / "videos", [12] * 8)
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(folder=folder, first=ADDRESSES[0], second=ADDRESSES[1]))
    env = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder / "home"),
        "PYTHONPATH": str(ROOT),
        "LANG": "C.UTF-8",
        "SLURM_CONF": str(conf),
        "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",
        "RAY_worker_niceness": "0",
    }
    with joined(env, [str(folder)]) as (nodes, _):
        nodes[0].checked("slurmctld")
        for node in nodes:
            node.checked("slurmd", "-N", node.name)
        found = Queue(nodes[0], folder)
        until = time.monotonic() + 60
        while sorted(found.run("srun", "--nodes=2", "hostname")[1].split()) != ["first", "second"]:
            assert time.monotonic() < until, (folder / "slurmctld.log").read_text()[-2000:]
            time.sleep(1)
        yield found


@pytest.fixture(scope="module")
def frames(queue: Queue) -> Path:
    """A set that two nodes have made, of a manifest that one has."""
    manifest = str(queue.folder / "videos.parquet")
    status, _, log = queue.batch(SCRIPT, "index", "folder", str(queue.folder / "videos"), "--output", manifest)
    assert (status, "all videos can be used" in log) == (0, True), log
    words = ("--manifest", manifest, "--output", str(queue.folder / "rgb"), "--width", "32", "--height", "32")
    status, _, log = queue.batch("--nodes=2", "--exclusive", SCRIPT, "extract-frames", *words, "--videos-per-shard=2")
    assert (status, "8 of 8 videos" in log) == (0, True), log
    assert log.count("Ray runtime started") == 1, "on the second node; the first one's head says it in other words"
    return queue.folder / "rgb"


def test_two_nodes_make_a_set_and_leave_no_token(queue: Queue, frames: Path) -> None:
    assert len([*frames.glob("shard-*.parquet")]) == 4
    tokens = queue.folder / "home" / ".kinebert" / "slurm"
    assert tokens.stat().st_mode & 0o777 == 0o700
    assert list(tokens.iterdir()) == []


def test_what_is_refused_is_the_jobs_status(queue: Queue) -> None:
    words = ("extract-frames", "--manifest", "/nowhere.parquet", "--output", str(queue.folder / "none"))
    status, _, log = queue.batch(SCRIPT, *words)
    assert (status, "/nowhere.parquet: there is no such manifest" in log) == (2, True), log


def test_an_array_is_a_training_for_each_seed(queue: Queue, frames: Path) -> None:
    (queue.folder / "short.toml").write_text(small_recipe(frames, epochs=1))
    run = ("--output", str(queue.folder / "seed-%a"), "--device", "cpu")
    status, _, log = queue.batch("--array=3-4", SCRIPT, "train", "short.toml", "--set", "seed=%a", *run)
    assert status == 0, log
    assert [(queue.folder / f"seed-{seed}" / "best.pt").exists() for seed in (3, 4)] == [True, True]


def test_a_training_that_is_taken_back_goes_on_where_it_was(queue: Queue, frames: Path) -> None:
    (queue.folder / "long.toml").write_text(f"save_every_s = 1\n{small_recipe(frames, epochs=40)}")
    run = queue.folder / "long"
    words = ("train", "long.toml", "--output", str(run), "--device", "cpu")
    _, number, _ = queue.batch(SCRIPT, *words, wait=False)
    wait_for(lambda: (run / "state.pt").exists(), 400)
    queue.run("scancel", "--batch", "--signal=USR1", number)  # as Slurm does five minutes before the end
    wait_for(lambda: queue.state(number)[1] == 1, 120)
    queue.run("scontrol", "update", f"JobId={number}", "StartTime=now")  # it would wait for two minutes
    wait_for(lambda: queue.state(number)[0] not in ("PENDING", "RUNNING", "CONFIGURING", "COMPLETING"), 900)
    log = (queue.folder / f"slurm-{number}.out").read_text()
    assert queue.state(number) == ("COMPLETED", 1), log
    assert f"job {number} goes back into the queue, and goes on from there" in log
    assert "holds this training, begun earlier; going on" in log
    assert "best of 40 epochs" in log


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, condition
        time.sleep(1)
