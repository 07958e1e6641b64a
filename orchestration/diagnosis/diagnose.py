"""A diagnosis as a whole: every part at once, each in a process of its own, within a time limit."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import kinebert
from kinebert.orchestration.diagnosis.findings import Finding, wrong
from kinebert.orchestration.diagnosis.part import PARTS
from kinebert.orchestration.jobs.requests import DiagnosisRequest
from kinebert.preprocessing import storage
from kinebert.preprocessing.plain_text import without_passwords

_PACKAGES = str(Path(kinebert.__file__).parents[1])
_REINSTALL = (
    "Install its packages anew, in the versions of constraints.txt. All that it says: "
    "python -m kinebert.orchestration.diagnosis.part"
)
_WAITING = "Something does not answer: a network disk, a server, or a very busy machine (--timeout-s sets the limit)."


@dataclass(frozen=True)
class Diagnosis:
    """What was found."""

    findings: tuple[Finding, ...]

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """Those of things that will fail."""
        return tuple(one for one in self.findings if one.state == "wrong")

    @property
    def notes(self) -> tuple[Finding, ...]:
        """Those of things that work, and are worth to be known."""
        return tuple(one for one in self.findings if one.state == "note")


def diagnose(request: DiagnosisRequest) -> Diagnosis:
    """Look at the machine, the environment and the services around, within a time limit. Nothing is changed.

    Raises:
        ConfigError: If a folder is none that can be meant, as a relative one in a submitted job.
    """
    folders = [storage.resolve_uri(folder) for folder in request.folders]
    with tempfile.TemporaryDirectory(prefix="kinebert-", ignore_cleanup_errors=True) as name:
        give_up, parts = time.monotonic() + request.timeout_s, list[_Part]()
        try:
            parts += [_Part(part, folders, Path(name)) for part in PARTS]
            found = [one for part in parts for one in part.findings(give_up)]
        finally:
            for part in parts:
                part.end()
    return Diagnosis(tuple(map(_without_passwords, found)))


class _Part:
    """A process that looks at one part.

    Args:
        name: Of the part.
        folders: That are to be looked at.
        scratch: Where it writes: a pipe might be held open by what it has started.
    """

    def __init__(self, name: str, folders: Sequence[str], scratch: Path) -> None:
        self._name, self._told, self._said = name, scratch / f"{name}.out", scratch / f"{name}.err"
        path = os.pathsep.join([_PACKAGES, *filter(None, [os.environ.get("PYTHONPATH")])])
        with self._told.open("wb") as told, self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kinebert.orchestration.diagnosis.part", name, *folders],
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=said,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,
            )

    def findings(self, give_up: float) -> Iterator[Finding]:
        """Wait, until the clock says ``give_up``; that it failed is a finding too, after those that it made before."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, give_up - time.monotonic()))
        status = self._process.poll()
        for line in self._told.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, TypeError):  # half a line of a process that has died
                yield Finding(**json.loads(line))
        if status is None:
            yield wrong(self._name, "no answer within the time limit", _WAITING)
        elif status < 0:
            yield wrong(self._name, f"crashed by {signal.Signals(-status).name}", f"{_REINSTALL} {self._name}")
        elif status > 0:
            said = self._said.read_text(encoding="utf-8", errors="replace")
            lines = [line.strip() for line in said.splitlines() if line.strip()]
            yield wrong(
                self._name,
                f"cannot be used: {lines[-1] if lines else f'status {status}'}",
                f"{_REINSTALL} {self._name}",
            )

    def end(self) -> None:
        """Kill what still runs of it."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _without_passwords(one: Finding) -> Finding:
    return replace(one, found=without_passwords(one.found), remedy=without_passwords(one.remedy))
