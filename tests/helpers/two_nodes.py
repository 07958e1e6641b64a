"""Two nodes on one machine that share nothing but a cable: networks, disks, memory and process numbers of their own.

Namespaces of the kernel, which end with their processes; these end with the test, whatever happens to it.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.helpers.job_clusters import HEAD, JOIN, RAY
from tests.helpers.object_store import KEYS
from tests.helpers.paths import ROOT
from tests.helpers.requirements import missing
from tests.helpers.s3_server import s3_server

ADDRESSES = ("10.231.77.1", "10.231.77.2")
DISK = "/mnt"
"""Where each node has a disk of its own."""
_DEVICE = "kb0"
_ALONE = ["setpriv", "--pdeathsig", "KILL"]
_SPACES = ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
_INIT = """
set -e
hostname {name}
mount --make-rprivate /
mkdir -p {disk} && mount -t tmpfs -o size=4g tmpfs {disk}
mkdir -p {disk}/home {disk}/kept
{keep}
mount -t tmpfs -o size=2g tmpfs /tmp && chmod 1777 /tmp
mount -t tmpfs -o size=2g tmpfs /dev/shm && chmod 1777 /dev/shm
{restore}
printf '127.0.0.1 localhost\\n{first} head\\n{second} second\\n' > {disk}/hosts && mount --bind {disk}/hosts /etc/hosts
ip link set lo up
touch {disk}/ready
while :; do sleep 3600 & wait $!; done
"""


class Node:
    """One node: a place to run commands in."""

    def __init__(self, name: str, env: dict[str, str], needed: Sequence[str]) -> None:
        hidden = [path for path in needed if path.startswith(("/tmp/", f"{DISK}/"))]  # by disks of the node's own
        kept = [f"{DISK}/kept/{i}" for i in range(len(hidden))]
        keep = [f"mkdir {to} && mount --bind {shlex.quote(path)} {to}" for path, to in zip(hidden, kept, strict=True)]
        back = [f"mkdir -p {p} && mount --bind {to} {p}" for p, to in zip(map(shlex.quote, hidden), kept, strict=True)]
        init = _INIT.format(
            name=name, disk=DISK, keep="\n".join(keep), restore="\n".join(back), first=ADDRESSES[0], second=ADDRESSES[1]
        )
        self.name, self._env = name, env
        self._process = subprocess.Popen([*_ALONE, *_SPACES, "bash", "-c", init], stderr=subprocess.PIPE, text=True)
        self.pid = self._first()
        self._wait()

    def _first(self) -> int:
        """The process that the namespaces live as long as."""
        give_up = time.monotonic() + 20
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        while time.monotonic() < give_up and self._process.poll() is None:
            with suppress(OSError):  # it may end at this moment
                if found := children.read_text().split():
                    return int(found[0])
            time.sleep(0.05)
        return self._refused()

    def _wait(self) -> None:
        give_up = time.monotonic() + 20
        while not (Path(f"/proc/{self.pid}/root{DISK}/ready")).exists():
            if self._process.poll() is not None or time.monotonic() > give_up:
                self._refused()
            time.sleep(0.05)

    def _refused(self) -> int:
        self.end()
        assert self._process.stderr is not None
        missing("namespaces", f"no namespaces of its own: {self._process.stderr.read()[-300:]}")

    def command(self, *words: str) -> list[str]:
        """A command as it is run on the node."""
        env = [f"{name}={value}" for name, value in self._env.items()]
        inside = ["nsenter", "--target", str(self.pid), "--net", "--mount", "--uts", "--pid", "--wd=/", "env", "-i"]
        return [*inside, *env, *words]

    def run(self, *words: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=timeout_s)

    def checked(self, *words: str, timeout_s: float = 300) -> str:
        """Run a command that must succeed, and return what it prints."""
        done = self.run(*words, timeout_s=timeout_s)
        assert done.returncode == 0, f"{self.name}: {words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def kinebert(self, *words: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a program."""
        return self.run(sys.executable, "-m", "kinebert.pipelines.cli", *words, timeout_s=timeout_s)

    def files(self, folder: str) -> dict[str, bytes]:
        """What lies below a folder, as this node sees it; of a link to one, below what that leads to there."""
        root = Path(f"/proc/{self.pid}/root{self.checked('readlink', '--canonicalize', folder).strip()}")
        found = (path for path in sorted(root.rglob("*")) if path.is_file())
        return {str(path.relative_to(root)): path.read_bytes() for path in found}

    def end(self) -> None:
        """Kill all that runs here; its network and disks go with it."""
        self._process.kill()
        self._process.wait()


class Cable:
    """Between two nodes: devices whose queue the kernel disturbs, or others that a program carries packets between."""

    def __init__(self, nodes: Sequence[Node], folder: Path) -> None:
        self._nodes, self._how, self._carrier = nodes, folder / "cable", None
        a, b = (str(node.pid) for node in nodes)
        subprocess.run(
            ["nsenter", "-t", a, "-n", *_ip(f"link add {_DEVICE} type veth peer {_DEVICE} netns {b}")], check=True
        )
        self.by_kernel = all(self._netem(node, "delay 0ms").returncode == 0 for node in nodes)
        if not self.by_kernel:
            subprocess.run(["nsenter", "-t", a, "-n", *_ip(f"link del {_DEVICE}")], check=True)
            for node in nodes:
                self._on(node, f"tuntap add dev {_DEVICE} mode tun")
            self.disturb(0, 0)
            program = [sys.executable, str(Path(__file__).with_name("lossy_link.py")), str(self._how), a, b, _DEVICE]
            self._carrier = subprocess.Popen([*_ALONE, *program])
        for node, mine in zip(nodes, ADDRESSES, strict=True):
            self._on(node, f"addr add {mine}/24 dev {_DEVICE}")
            self._on(node, f"link set {_DEVICE} mtu 9000 up")

    def disturb(self, late_ms: float, lost: float) -> None:
        """Make every packet late by so many milliseconds, either way, and lose a share (0 to 1)."""
        if self.by_kernel:
            for node in self._nodes:
                self._netem(node, f"delay {late_ms}ms loss {lost * 100}%").check_returncode()
        else:
            self._how.with_suffix(".new").write_text(f"{late_ms} {lost}")
            self._how.with_suffix(".new").replace(self._how)
            time.sleep(1)

    def round_trip_ms(self) -> float:
        """The shortest way there and back of a few connections."""
        code = (
            "import socket, sys, time\n"
            "def one():\n"
            "    start = time.monotonic(); socket.create_connection((sys.argv[1], 6379), 20).close()\n"
            "    return time.monotonic() - start\n"
            "print(min(one() for _ in range(5)) * 1000)"
        )
        return float(self._nodes[1].checked(sys.executable, "-c", code, ADDRESSES[0]))

    def end(self) -> None:
        """Carry nothing any more."""
        if self._carrier is not None:
            self._carrier.kill()
            self._carrier.wait()

    def _netem(self, node: Node, how: str) -> "subprocess.CompletedProcess[bytes]":
        words = ["tc", "qdisc", "replace", "dev", _DEVICE, "root", "netem", *how.split()]
        return subprocess.run(["nsenter", "-t", str(node.pid), "-n", *words], check=False, capture_output=True)

    def _on(self, node: Node, words: str) -> None:
        subprocess.run(["nsenter", "-t", str(node.pid), "-n", *_ip(words)], check=True, capture_output=True)


def _ip(words: str) -> list[str]:
    return ["ip", *words.split()]


class TwoNodes:
    """A cluster of two nodes with a CPU each, and a store of objects beside the first."""

    def __init__(self, first: Node, second: Node, cable: Cable, env: dict[str, str]) -> None:
        self.first, self.second, self.cable, self.env = first, second, cable, env

    def submit(self, *words: str, timeout_s: float = 400) -> "subprocess.CompletedProcess[str]":
        """Run a program as a job, whose driver is on the first node; the code travels with it."""
        return self.first.kinebert("submit", "--", *words, timeout_s=timeout_s)

    def done(self, *words: str, timeout_s: float = 400) -> str:
        """Run a program as a job that must succeed, and return what it prints."""
        found = self.submit(*words, timeout_s=timeout_s)
        assert found.returncode == 0, f"{words}: {found.returncode}\n{found.stdout}\n{found.stderr}"
        return re.sub(r"\x1b\[[0-9;]*m", "", found.stdout)


@contextmanager
def joined(env: dict[str, str], needed: Sequence[str] = ()) -> Iterator[tuple[list[Node], Cable]]:
    """Start two nodes with a cable between them.

    Args:
        env: Of all that runs there; what is added later counts too.
        needed: Folders that both see, beside the code and this Python.
    """
    if os.geteuid() or not os.path.exists("/dev/net/tun"):
        missing("namespaces", "only root makes network namespaces")
    shown = sorted({str(ROOT), sys.prefix, sys.base_prefix, *needed})
    nodes: list[Node] = []
    with tempfile.TemporaryDirectory(prefix="kb-cable-") as folder:
        try:
            nodes.append(Node("first", env, shown))
            nodes.append(Node("second", env, shown))
            cable = Cable(nodes, Path(folder))
            try:
                yield nodes, cable
            finally:
                cable.end()
        finally:
            for node in nodes:
                node.end()


@contextmanager
def two_nodes() -> Iterator[TwoNodes]:
    """Start the nodes, the store and Ray; the token is the same on both."""
    env = {
        "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": f"{DISK}/home",
        "PYTHONPATH": str(ROOT),
        "LANG": "C.UTF-8",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": uuid.uuid4().hex,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # nodes have machines of their own; here others run
        "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",
        "RAY_API_SERVER_ADDRESS": f"http://{ADDRESSES[0]}:8265",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": f"sqlite:///{DISK}/mlflow.db",
        "AWS_REGION": "us-east-1",
        **KEYS,
        "AWS_SECRET_ACCESS_KEY": uuid.uuid4().hex,
    }
    with joined(env) as (nodes, cable):
        inside = ("nsenter", "-t", str(nodes[0].pid), "--net")
        with s3_server(ADDRESSES[0], inside) as port:
            env["AWS_ENDPOINT_URL"] = f"http://{ADDRESSES[0]}:{port}"
            common = ["--num-cpus=1", "--object-store-memory=200000000"]
            for node, command, mine in zip(nodes, (HEAD, JOIN), ADDRESSES, strict=True):
                node.checked(sys.executable, *RAY, *command[1:], *common, f"--node-ip-address={mine}")
            yield TwoNodes(nodes[0], nodes[1], cable, env)
