"""Modules of a package are found without a list of them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kinebert.preprocessing.discovery import modules_of

NAME = "package_to_look_through"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder of an empty package that can be imported as NAME; forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / NAME
    folder.mkdir()
    (folder / "__init__.py").touch()
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
        del sys.modules[name]


def names() -> list[str]:
    return [module.__name__ for module in modules_of(NAME)]


def test_every_module_is_imported_in_the_order_of_names(package: Path) -> None:
    assert names() == []
    for name in ("two", "one", "_three"):
        (package / f"{name}.py").touch()
    (package / "notes.txt").touch()
    assert names() == [f"{NAME}.{name}" for name in ("_three", "one", "two")]


def test_a_package_inside_is_imported_and_not_its_modules(package: Path) -> None:
    (package / "inner").mkdir()
    (package / "inner" / "__init__.py").touch()
    (package / "inner" / "deep.py").write_text("raise ValueError('imported')")
    assert names() == [f"{NAME}.inner"]


def test_a_package_may_ask_for_its_own_modules(package: Path) -> None:
    (package / "__init__.py").write_text(
        "from kinebert.preprocessing.discovery import modules_of\nTABLE = []\nFOUND = modules_of(__name__)\n"
    )
    (package / "entry.py").write_text(f"from {NAME} import TABLE\nTABLE.append('entry')\n")
    assert names() == [f"{NAME}.entry"]
    assert sys.modules[NAME].TABLE == ["entry"]


def test_a_broken_module_is_not_passed_over(package: Path) -> None:
    (package / "broken.py").write_text("import there_is_no_such_module\n")
    with pytest.raises(ModuleNotFoundError, match="there_is_no_such_module"):
        modules_of(NAME)
