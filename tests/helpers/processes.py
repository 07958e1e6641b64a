"""A program of ours as a process of its own, with all that it starts."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TypeVar

from tests.helpers.paths import ROOT

T = TypeVar("T")
_LISTEN = "0A"
_LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


class Program:
    """``python pipelines/NAME.py ARGS`` in a session of its own, with an empty home folder.

    A mark in its environment tells every process that it starts.
    """

    def __init__(self, name: str, args: Sequence[str], folder: Path, **env: str) -> None:
        self._mark = f"KINEBERT_TEST={uuid.uuid4().hex}"
        self.home = folder / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MLFLOW_"))}
        key, _, value = self._mark.partition("=")
        self.stdout_file, self.stderr_file = folder / "stdout", folder / "stderr"
        with self.stdout_file.open("w") as out, self.stderr_file.open("w") as err:
            self.process = self._start(name, args, {**inherited, **env, key: value, "HOME": str(self.home)}, out, err)
        self.cluster_folders: set[str] = set()

    @staticmethod
    def _start(
        name: str, args: Sequence[str], env: dict[str, str], out: IO[str], err: IO[str]
    ) -> subprocess.Popen[bytes]:
        env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *env.get("MORE_PYTHONPATH", "").split()])
        command = [sys.executable, str(ROOT / "pipelines" / f"{name}.py"), *args]
        return subprocess.Popen(command, env=env, stdout=out, stderr=err, start_new_session=True)

    def alive(self) -> dict[int, str]:
        """Command lines of the living processes of this program, by id; remembers the folders of their clusters."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self._mark.encode() not in (folder / "environ").read_bytes():
                    continue
                if (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                    continue
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        for command in found.values():
            self.cluster_folders.update(re.findall(r"/tmp/kb-[a-z0-9_]+", command))
        return found

    def workers(self) -> list[int]:
        """Processes that are at work on a shard."""
        return [pid for pid, command in self.alive().items() if command.startswith("ray::Map")]

    def listening(self) -> set[str]:
        """Local addresses, as the kernel writes them, on which the program's processes listen."""
        inodes = set()
        for pid in self.alive():
            for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
                try:
                    inodes.update(re.findall(r"socket:\[(\d+)\]", os.readlink(descriptor)))
                except OSError:
                    continue
        lines = [
            line.split()
            for name in ("tcp", "tcp6")
            if Path(f"/proc/net/{name}").exists()
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        ]
        return {line[1] for line in lines if line[3] == _LISTEN and line[9] in inodes}

    def listening_to_strangers(self) -> set[str]:
        """Those of them that other machines can reach."""
        return {address for address in self.listening() if address.partition(":")[0] not in _LOOPBACK}

    def wait(self, timeout_s: float = 120.0) -> int:
        """Wait for the end and return the exit status."""
        return self.process.wait(timeout_s)

    def wait_for(self, condition: Callable[[], T], what: str, timeout_s: float = 90.0) -> T:
        """Poll until ``condition`` holds, and return what it gave then; the program must not end before."""
        deadline = time.monotonic() + timeout_s
        while not (found := condition()):
            assert self.process.poll() is None, f"ended before {what}: {self.errors()}"
            assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}: {self.errors()}"
            time.sleep(0.02)
        return found

    def wait_until_nobody_works(self, timeout_s: float = 30.0) -> None:
        """Wait until no process is left that could touch a shard."""
        deadline = time.monotonic() + timeout_s
        while busy := [command for command in self.alive().values() if not re.match("ray::.*Agent", command)]:
            assert time.monotonic() < deadline, f"still running after {timeout_s:g} s: {busy}"
            time.sleep(0.1)

    def wait_until_nothing_runs(self, timeout_s: float = 30.0) -> None:
        """Wait for the end of all processes that the program has started."""
        deadline = time.monotonic() + timeout_s
        while left := self.alive():
            assert time.monotonic() < deadline, f"still running after {timeout_s:g} s: {left}"
            time.sleep(0.1)

    def errors(self) -> str:
        return self.stderr_file.read_text()

    def tidy_up(self) -> None:
        """End what is left, whatever the test found."""
        for pid in self.alive():
            os.kill(pid, signal.SIGKILL)
        self.process.wait(10)
