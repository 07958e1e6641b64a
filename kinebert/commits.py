"""Which code this is: the commit that it was made from, and whether it was changed since.

Known from what whoever submits a job says, from the file that a build of a wheel or of a source archive puts into the
package, or from git, in a checkout. Nothing is imported but Python's own modules: ``setup.py`` runs this file before
anything is installed.
"""

import os
import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "KINEBERT_COMMIT"
"""Environment variable that names the git commit where there is no checkout, as in a submitted job.

After the commit and a space it may say ``modified`` or ``clean``.
"""
_FOLDER = Path(__file__).resolve().parent  # git knows no files behind links
_FILE = "commit.txt"
_MODIFIED, _CLEAN = "modified", "clean"
_OF_ANOTHER = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
"""Variables that a hook of git sets, and that speak of its checkout."""


@dataclass(frozen=True)
class Commit:
    """A commit of the project."""

    id: str | None = None
    """As git writes it; None if nobody knows."""
    changed: bool | None = None
    """Whether tracked files were other than in the commit; None if nobody knows."""

    def __str__(self) -> str:
        """Such as ``abc1234, modified``."""
        if self.id is None:
            return "commit unknown"
        short = self.id[:7] if re.fullmatch("[0-9a-f]{40,64}", self.id) else self.id
        return f"{short}, {_MODIFIED}" if self.changed else short

    def line(self) -> str:
        """Return it for :func:`find_commit` of a copy of the package, as the variable's value; empty if unknown."""
        state = {None: "", True: f" {_MODIFIED}", False: f" {_CLEAN}"}[self.changed]
        return "" if self.id is None else f"{self.id}{state}"


def find_commit(folder: Path = _FOLDER) -> Commit:
    """Return what is known of the package that lies in ``folder``, a checkout's or an installed one."""
    return _parsed(os.environ.get(VARIABLE, "")) or _as_built(folder) or _of_checkout(folder) or Commit()


def record(found: Commit, folder: Path) -> None:
    """Write what is known into a copy of the package, which has no git; a file of an earlier build is replaced."""
    file = folder / _FILE
    file.unlink(missing_ok=True)  # it may be a link to that of the source
    if line := found.line():
        file.write_text(f"{line}\n", encoding="utf-8")


def _as_built(folder: Path) -> Commit | None:
    with suppress(OSError, ValueError):
        return _parsed((folder / _FILE).read_text(encoding="utf-8"))
    return None


def _parsed(line: str) -> Commit | None:
    found, _, state = line.strip().partition(" ")
    return Commit(found, {_MODIFIED: True, _CLEAN: False}.get(state)) if found else None


def _of_checkout(folder: Path) -> Commit | None:
    """Ask git, if the package is of its checkout: a folder of installed packages may lie in that of another project."""
    env = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER}

    def git(*args: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(folder), *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True, env=env).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return Commit(git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.SubprocessError):
        return None
