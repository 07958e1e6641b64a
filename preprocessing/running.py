"""One job at a time fills a folder: two would sweep away each other's unfinished files."""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError

RUNNING_FILE = ".running.json"
_BEAT_S, _DEAD_AFTER_S = 20.0, 120.0


@contextmanager
def only_job(output: str) -> Iterator[None]:
    """Hold the folder ``output`` for this process.

    A killed job holds nothing: on this machine its process is gone, and from elsewhere it gives no sign of life.

    Raises:
        UserError: If another job that is alive holds it.
    """
    path = storage.join(output, RUNNING_FILE)
    other = _read(path)
    if other is not None and _alive(other):
        raise UserError(
            f"{output}: another job (process {other['pid']} on {other['host']}) is filling this folder. Wait for it, "
            "or stop it."
        )
    done = threading.Event()

    def beat() -> None:
        while not done.wait(_BEAT_S):
            with suppress(OSError):  # a store that fails for a moment is no reason to stop
                storage.write_bytes(path, json.dumps(_us()).encode())

    storage.write_bytes(path, json.dumps(_us()).encode())
    thread = threading.Thread(target=beat, name="running", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        with suppress(OSError):
            storage.delete_file(path)


def _us() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid()), "time": time.time()}


def _read(path: str) -> dict[str, Any] | None:
    try:
        found = json.loads(storage.read_bytes(path))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"host", "pid", "started", "time"} <= found.keys() else None


def _alive(job: dict[str, Any]) -> bool:
    if job["host"] == socket.gethostname() and job["started"] is not None:
        return bool(job["pid"] != os.getpid() and _started(job["pid"]) == job["started"])
    return time.time() - float(job["time"]) < _DEAD_AFTER_S


def _started(pid: int) -> str | None:
    """When a process was started, in the kernel's ticks; None if there is none, or no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]  # killed, and nobody has asked how it ended
    except (OSError, IndexError):
        return None
