"""Packages of a user's own that bear the names of our folders, and say so when anybody imports them."""

from pathlib import Path

FOLDERS = ("preprocessing", "training", "orchestration", "pipelines")
"""Our folders at the top of the repository, whose names are nothing special."""


def foreign_packages(folder: Path) -> None:
    """Write them into ``folder``, which is made."""
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise ImportError('this is the {name} of somebody else')\n")
