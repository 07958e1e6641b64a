"""Files of infra/, and the programs that check them."""

import functools
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from tests.helpers.paths import ROOT
from tests.helpers.requirements import missing

INFRA = ROOT / "infra"
CONSTRAINTS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
"""Version by name."""
_LEFT_OUT = {".venv", ".git", "secrets", "node_modules"}


def program(name: str, word: str = "infra") -> str:
    """Path of a program that checks files: of this Python's environment, or on the PATH; else the test is skipped."""
    beside = Path(sys.executable).parent / name
    path = str(beside) if beside.exists() else shutil.which(name)
    if path is None:
        how = "pip install --constraint constraints.txt --editable '.[infra]'" if word == "infra" else "install it"
        missing(word, f"{name} is not installed ({how})")
    return path


def checked(*command: str, **kwargs: Any) -> str:
    """Run a command, and return what it prints; what it complains of is the test's failure."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, **kwargs)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@functools.cache
def infra_files() -> tuple[Path, ...]:
    """Every file below infra/."""
    return tuple(
        sorted(path for path in INFRA.rglob("*") if path.is_file() and not _LEFT_OUT & {*path.relative_to(ROOT).parts})
    )


def shell_scripts() -> list[Path]:
    """Every file of the project that a shell runs, by its first line."""
    folders = [ROOT / ".ci", *(path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))]
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(path for path in files if not _LEFT_OUT & {*path.relative_to(ROOT).parts} and _for_shell(path))


def _for_shell(path: Path) -> bool:
    with path.open("rb") as file:
        return re.match(rb"#!.*\b(ba|da)?sh\b", file.readline(200)) is not None


def documents(path: Path) -> list[Any]:
    """What is in a YAML file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]


def commands(text: str) -> Iterator[list[str]]:
    """Words of every command of kinebert that a text holds, behind its continued lines put together.

    What a shell would make of a variable is put as 1, which is a number and a name.
    """
    joined = re.sub(r"\\\n\s*", " ", text)
    for found in re.finditer(
        r"^[ \t>|#-]*(?:\w+: *)?[\"']?((?:kinebert|python pipelines/\w+\.py) [^`\n]*)", joined, re.M
    ):
        line = re.sub(r"\$\{?\w+\}?", "1", found[1].rstrip("\"'"))
        yield shlex.split(line, comments=True)
    for submitted in re.findall(r"^sbatch .*kinebert\.sbatch (.*)$", joined, re.M):
        yield ["kinebert", *shlex.split(submitted.replace("%a", "1"))]  # %a: the number of an array's task
