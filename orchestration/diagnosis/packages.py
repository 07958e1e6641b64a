"""Python, this project, and the packages that it needs or can use."""

import importlib.metadata
import platform
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import kinebert
from kinebert.commits import find_commit
from kinebert.orchestration.diagnosis.findings import Finding, note, ok, wrong


def look() -> Iterator[Finding]:
    """Look at versions, without importing anything."""
    where = Path(kinebert.__file__).parent
    yield ok("kinebert", f"{kinebert.__version__} ({find_commit()}) in {where}")
    yield ok("Python", f"{platform.python_version()}, {sys.executable}")
    yield packages(_requirements())
    yield optional(
        "optuna", installed("optuna"), "search = tpe of kinebert tune needs it: pip install 'kinebert[tune]'."
    )


def installed(name: str) -> str | None:
    """Return the version of an installed package; None if it is not there."""
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(name)
    return None


def packages(requirements: list[str] | None) -> Finding:
    """Judge whether the packages that this project needs are there, and new enough.

    Args:
        requirements: Such as ``numpy>=1.26``; None if the project is not installed, as in a job that it travels with.
    """
    from packaging.requirements import Requirement

    if requirements is None:
        return ok("packages", "not known, since kinebert itself is not installed here")
    lacking, all_of_them = [], [Requirement(text) for text in requirements]
    needed = [one for one in all_of_them if one.marker is None or one.marker.evaluate({"extra": ""})]
    for one in needed:
        version = installed(one.name)
        if version is None or not one.specifier.contains(version, prereleases=True):
            lacking.append(f"{one.name}{one.specifier} ({version or 'not installed'})")
    if lacking:
        return wrong("packages", f"lacking: {', '.join(lacking)}", "Install them: pip install --upgrade kinebert.")
    return ok("packages", f"the {len(needed)} that are needed are installed, and new enough")


def optional(name: str, version: str | None, remedy: str) -> Finding:
    """Judge a package that is used where it is there."""
    return ok(name, version) if version else note(name, "not installed", remedy[0].upper() + remedy[1:])


def _requirements() -> list[str] | None:
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.requires("kinebert") or []
    return None
