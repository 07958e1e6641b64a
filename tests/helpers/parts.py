"""A part of a cluster, as a container would run it: one command and all that it starts."""

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path


class Part:
    """A command that is to keep running. A mark in its environment tells every process that it starts.

    Args:
        name: Of the part, for people.
        command: Its words.
        env: Its whole environment.
        folder: For its log, which is also the folder that it runs in.
        ready: Whether it does what it is for; asked again and again.
        user: Who runs it, if somebody else.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        folder: Path,
        ready: Callable[[], bool],
        user: str | None = None,
    ) -> None:
        self.name, self._command, self._ready, self._user = name, list(command), ready, user
        self._mark = f"KINEBERT_TEST_PART={uuid.uuid4().hex}"
        key, _, value = self._mark.partition("=")
        self._env, self._folder = {**env, key: value}, folder
        self.log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, timeout_s: float = 240.0) -> None:
        """Start it, and wait until it is ready."""
        self.begin()
        self.wait_until_ready(timeout_s)

    def begin(self) -> None:
        """Start it. Its log goes on."""
        assert not self.alive(), f"{self.name} runs already"
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._env,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._user,
                start_new_session=True,
            )

    def wait_until_ready(self, timeout_s: float = 240.0) -> None:
        """Wait until it does what it is for."""
        give_up = time.monotonic() + timeout_s
        while not self._is_ready():
            assert self._process is not None
            assert self._process.poll() is None, f"{self.name} ended: {self.printed()}"
            assert time.monotonic() < give_up, f"waited {timeout_s:g} s for {self.name}: {self.printed()}"
            time.sleep(0.2)

    def _is_ready(self) -> bool:
        with suppress(OSError):
            return self._ready()
        return False

    def printed(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-6000:]

    def alive(self) -> dict[int, str]:
        """Command lines of its processes, by id: those that bear its mark, and their children.

        PostgreSQL's have no mark, since their titles take its place.
        """
        found, parents = dict[int, str](), dict[int, int]()
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                state, parent, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
                if state != "Z":
                    parents[int(folder.name)] = int(parent)
                    if self._mark.encode() in (folder / "environ").read_bytes():
                        found[int(folder.name)] = _command(int(folder.name))
        while more := [pid for pid, parent in parents.items() if parent in found and pid not in found]:
            found.update({pid: _command(pid) for pid in more})
        return found

    def kill(self, timeout_s: float = 30.0) -> None:
        """Kill all of its processes, as the end of a container or a machine does: none has a last word."""
        give_up = time.monotonic() + timeout_s
        while left := self.alive():
            assert time.monotonic() < give_up, f"{self.name}: still there: {left}"
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self._process is not None:
                self._process.poll()
            time.sleep(0.05)

    def wait_until_ended(self, timeout_s: float) -> None:
        """Wait until its command ends by itself, as it does before something starts it again; kill what it left."""
        assert self._process is not None
        self._process.wait(timeout_s)
        self.kill()


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""
