"""What a checkout is built into, and an environment that has it: other packages are those that the tests run with."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

from tests.helpers.paths import ROOT

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_BUILD = "import sys; from setuptools import build_meta as b; getattr(b, sys.argv[1])(sys.argv[2])"


def copy_of_checkout(folder: Path) -> Path:
    """Copy what git tracks, links as links, into ``folder``, which is made; returns it."""
    tracked = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=True)
    for name in filter(None, tracked.stdout.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name, follow_symlinks=False)
    return folder


def build(kind: str, source: Path, output: Path, commit: str = "") -> Path:
    """Build ``wheel`` or ``sdist`` as pip does, without asking a package index; returns the one file.

    Args:
        kind: Of the file.
        source: Folder of ``pyproject.toml``.
        output: Folder for the file.
        commit: What whoever builds says of the commit; by default nothing.
    """
    output.mkdir(parents=True)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"KINEBERT_COMMIT": commit}
    env |= {"GIT_CEILING_DIRECTORIES": str(source.parent)}
    command = [sys.executable, "-c", _BUILD, f"build_{kind}", str(output)]
    subprocess.run(command, cwd=source, env=env, check=True, capture_output=True)
    (built,) = output.iterdir()
    return built


def unpacked(archive: Path, folder: Path) -> Path:
    """Unpack a source archive, which is one folder; returns that."""
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    (only,) = folder.iterdir()
    return only


def environment_with(wheel: Path, folder: Path) -> Path:
    """Make a virtual environment that has the wheel and the packages of the tests; returns its ``python``."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, capture_output=True)
    python = folder / "bin" / "python"
    (site,) = folder.glob("lib/python*/site-packages")
    # a path, not a folder of site-packages: an editable installation that lies there is not run
    (site / "packages_of_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = ["install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True, capture_output=True)
    return python


def started(command: list[str], folder: Path, more: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run a command without what the environment of the tests says of this project."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHONPATH", "KINEBERT_", "MLFLOW_", "RAY_"))}
    return subprocess.run(command, env={**clean, **more}, cwd=folder, capture_output=True, text=True, timeout=900)
