"""CONTRIBUTING.md's map of the house shows every room, and none that is not there."""

import inspect
import re

import pytest

from kinebert.training.models.heads import average
from tests.benchmarks.structure import PACKAGES, beyond, shape, sources
from tests.helpers.paths import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text()


def drawn() -> set[str]:
    """The folders of the map, by their paths."""
    (block,) = re.findall(r"## The map\n\n```\n(.*?)```", PAGE, re.DOTALL)
    above: list[str] = []
    found = set()
    for line in block.splitlines():
        match = re.match(r"((?:  )*)(\w+)/  ", line)
        if match:
            above = [*above[: len(match[1]) // 2], match[2]]
            found.add("/".join(above))
    return found


def test_every_room_is_on_the_map() -> None:
    rooms = {
        str(path.parent.relative_to(ROOT))
        for package in PACKAGES
        for path in sources(ROOT, package)
        if path.name == "__init__.py"
    }
    infra = {str(path.relative_to(ROOT)) for path in (ROOT / "infra").iterdir() if path.is_dir()}
    assert drawn() == rooms | infra | {"infra", "tests"}


def test_a_room_says_what_is_in_it() -> None:
    for package in PACKAGES:
        for path in sources(ROOT, package):
            assert path.read_text().startswith(('"""', "# ruff")), f"{path}: no docstring"


def test_no_room_is_crowded_and_no_file_long() -> None:
    assert beyond(ROOT, [path for package in PACKAGES for path in sources(ROOT, package)]) == []


def test_the_table_counts_what_is_there() -> None:
    found = shape([ROOT / "training" / "models" / "heads" / "average.py"])
    assert (found.files, found.typed, found.documented) == (1, 1.0, 1.0)
    assert found.lines == len((ROOT / "training/models/heads/average.py").read_text().splitlines())
    assert max(found.parameters) == len(inspect.signature(average.tgap).parameters)
    with pytest.raises(SyntaxError):
        shape([ROOT / "README.md"])
