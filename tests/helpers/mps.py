"""CUDA's Multi-Process Service for a while: kernels of several processes overlap on one GPU."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

CONTROL = "nvidia-cuda-mps-control"


class NoMpsError(Exception):
    """Why there is none."""


@contextmanager
def mps() -> Iterator[None]:
    """Start the service; processes that are started meanwhile use it, and it ends with the block.

    Raises:
        NoMpsError: If its program is not there, or it does not start.
    """
    if shutil.which(CONTROL) is None:
        raise NoMpsError(f"{CONTROL}, a program of NVIDIA's driver, is not on the PATH")
    with tempfile.TemporaryDirectory(prefix="mps-") as folder:
        ours = {"CUDA_MPS_PIPE_DIRECTORY": f"{folder}/pipe", "CUDA_MPS_LOG_DIRECTORY": f"{folder}/log"}
        before = {name: os.environ.get(name) for name in ours}
        os.environ.update(ours)
        try:
            started = _control("-d")
            if started.returncode:
                raise NoMpsError(f"{CONTROL} -d: {' '.join((started.stderr or started.stdout).split()) or 'failed'}")
            yield
        finally:
            _control(told="quit -t 5")
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def serves() -> bool:
    """Whether the service has had a process to serve: without one, CUDA went its own way."""
    return bool(_control(told="get_server_list").stdout.split())


def _control(*options: str, told: str | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run([CONTROL, *options], input=told, capture_output=True, text=True, timeout=15, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess([CONTROL], 1, "", str(error))
