"""A cluster of Ray that somebody else has started, of one machine, and that may lose its head."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LAST_PORT = 9900
"""Ray gives those after 10000 to its workers."""


class GivenCluster:
    """``ray start --head --block`` with a folder of its own, on loopback. Its processes are known by a mark."""

    def __init__(self, folder: str, cpus: int) -> None:
        self._mark = f"KINEBERT_TEST_HEAD={uuid.uuid4().hex}"
        name, _, value = self._mark.partition("=")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MLFLOW_"))}
        quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "disabled"}
        port = _free_port()
        self.address = f"127.0.0.1:{port}"
        ray = str(Path(sys.executable).with_name("ray"))
        options = ["--include-dashboard=false", "--disable-usage-stats", "--object-store-memory=100000000"]
        command = [ray, "start", "--head", "--block", f"--port={port}", f"--num-cpus={cpus}", f"--temp-dir={folder}"]
        self._log = Path(folder) / "head.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [*command, *options],
                env={**inherited, **quiet, name: value},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.env = {**quiet, "RAY_ADDRESS": self.address}
        """What a program needs to join."""

    def wait_until_up(self, timeout_s: float = 120.0) -> None:
        """Wait until programs can join."""
        give_up = time.monotonic() + timeout_s
        while "block forever" not in self._log.read_text():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < give_up, self._log.read_text()
            time.sleep(0.2)

    def alive(self) -> dict[int, str]:
        """Command lines of its processes, by id."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if self._mark.encode() in (folder / "environ").read_bytes():
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def kill(self, what: str = "") -> None:
        """Kill the processes with ``what`` in their programs' paths; by default all of them."""
        for pid, command in self.alive().items():
            if what in command.split(" ")[0]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill all of it."""
        give_up = time.monotonic() + 20
        while self.alive() and time.monotonic() < give_up:
            self.kill()
            self._process.poll()
            time.sleep(0.1)


@contextmanager
def given_cluster(cpus: int = 2) -> Iterator[GivenCluster]:
    """Start a cluster that ends with the block."""
    with tempfile.TemporaryDirectory(prefix="kt-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        cluster = GivenCluster(folder, cpus)
        try:
            cluster.wait_until_up()
            yield cluster
        finally:
            cluster.end()


def _free_port() -> int:
    for port in range(_LAST_PORT, 9000, -1):
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")
