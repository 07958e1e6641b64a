"""Folders in which one program works at a time, of every kind that there is."""

import errno
from pathlib import Path

import pytest

from kinebert.preprocessing import storage


@pytest.fixture(params=["disk", "disk without flock", "store"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder on a disk, on one that knows no locks, and on pyarrow's filesystem in memory."""
    if request.param == "disk without flock":
        monkeypatch.setattr("fcntl.flock", no_flock)
    uri = f"mock:///{tmp_path.name}" if request.param == "store" else str(tmp_path)
    storage.make_folder(uri)
    return uri


def no_flock(descriptor: int, operation: int) -> None:
    """Fail as it does on a shared filesystem that was mounted without locks."""
    raise OSError(errno.ENOSYS, "Function not implemented")
