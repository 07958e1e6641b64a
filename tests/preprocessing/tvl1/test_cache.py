"""Compiled code is kept between processes, and never that of other sources."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kinebert.preprocessing.tvl1 import cache
from tests.helpers.paths import ROOT

CALLED = """
from numba import njit

@njit(cache=True)
def called(x):
    return x + {number}
"""
CALLING = """
from numba import njit
from pack.called import called

@njit(cache=True)
def calling(x):
    return 10 * called(x)
"""
PROGRAM = """
from pathlib import Path
import numba
from kinebert.preprocessing.tvl1.cache import own_cache
before = numba.config.CACHE_DIR
with own_cache(Path("pack").absolute()):
    from pack.calling import calling
assert numba.config.CACHE_DIR == before
print(calling(1), sum(calling.stats.cache_hits.values()))
"""


def run(folder: Path, number: int) -> str:
    """Result, and how many functions came from the cache."""
    (folder / "pack" / "called.py").write_text(CALLED.format(number=number))
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{folder}", "NUMBA_CACHE_DIR": ""}
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=True, timeout=120).stdout


def test_a_change_of_what_is_called_reaches_the_caller(tmp_path: Path) -> None:
    """numba alone prints 20 twice: it looks at the caller's file only."""
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "calling.py").write_text(CALLING)
    assert run(tmp_path, 1) == "20 0\n"
    assert run(tmp_path, 1) == "20 1\n"
    assert run(tmp_path, 2) == "30 0\n"
    assert len(list((tmp_path / "pack" / "__pycache__").glob("tvl1-*"))) == 2


def test_a_place_is_found_in_a_read_only_installation_of_a_user_without_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, home, temporary = tmp_path / "package", tmp_path / "home", tmp_path / "tmp"
    package.mkdir()
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache._writable(package, str(tmp_path / "given")) == tmp_path / "given"
    assert cache._writable(package, "") == package / "__pycache__"
    (package / "__pycache__").rmdir()
    (package / "__pycache__").touch()  # no folder, and none can be made: the tests may be root, who may write anywhere
    assert cache._writable(package, str(package / "__pycache__")) == home / ".cache" / "kinebert"
    monkeypatch.setenv("XDG_CACHE_HOME", str(package / "__pycache__"))
    own = temporary / f"kinebert-{os.getuid()}"
    assert cache._writable(package, "") == own == cache._writable(package, "")
    assert own.stat().st_mode & 0o777 == 0o700
    own.rmdir()
    own.symlink_to(home)  # somebody else was there first
    other = cache._writable(package, "")
    assert other.parent == temporary
    assert other != own


def test_code_of_a_job_is_compiled_once_for_all_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder goes with the cluster, and another job's of the same code is another."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    package = tmp_path / "runtime_resources" / "working_dir_files" / "_ray_pkg_1" / "tvl1"
    package.mkdir(parents=True)
    assert cache._writable(package, "") == tmp_path / "home" / ".cache" / "kinebert"
    assert not (package / "__pycache__").exists()
