"""What ``pyproject.toml`` cannot say: a wheel and a source archive bear the commit that they are made from."""

import runpy
from collections.abc import Sequence
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

PACKAGE = Path(__file__).parent / "kinebert"
OURS = runpy.run_path(str(PACKAGE / "commits.py"))  # the package itself is not installed yet


def record_commit(target: Path) -> None:
    """Write into the copy of the package at ``target`` what is known of this one."""
    OURS["record"](OURS["find_commit"](PACKAGE.resolve()), target)


class BuildWithCommit(build_py):
    """Copies the package; an editable installation copies nothing, and asks git."""

    def run(self) -> None:
        """Copy, and write the commit."""
        super().run()
        if not self.editable_mode:
            record_commit(Path(self.build_lib) / PACKAGE.name)


class ArchiveWithCommit(sdist):
    """Copies the sources."""

    def make_release_tree(self, base_dir: str, files: Sequence[str]) -> None:
        """Copy, and write the commit."""
        super().make_release_tree(base_dir, files)
        record_commit(Path(base_dir) / PACKAGE.name)


setup(cmdclass={"build_py": BuildWithCommit, "sdist": ArchiveWithCommit})
