"""The examples of CONTRIBUTING.md as modules, for the tests that try them."""

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.helpers.paths import ROOT


@contextmanager
def restored(*tables: dict[str, Any]) -> Iterator[None]:
    """Whatever is registered in the block is gone afterwards."""
    before = [dict(table) for table in tables]
    yield
    for table, old in zip(tables, before, strict=True):
        table.clear()
        table.update(old)


def section(heading: str) -> str:
    """Return the text of the section ``## heading``."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    sections = dict(re.findall(r"^## (.+?)\n(.+?)(?=^## |\Z)", page, flags=re.DOTALL | re.MULTILINE))
    return str(sections[heading])


def code_of(heading: str) -> str:
    """Return the Python block of the section ``## heading``."""
    (code,) = re.findall(r"```python\n(.+?)```", section(heading), flags=re.DOTALL)
    return str(code)


def files_of(heading: str) -> dict[str, str]:
    """Return the Python blocks of the section by the path that the sentence before each of them ends with."""
    text = section(heading)
    found = dict(re.findall(r"`([\w/]+\.py)`[^`]*:\n\n```python\n(.+?)```", text, flags=re.DOTALL))
    assert len(found) == text.count("```python"), f"{heading}: a block without a path"
    return found


@contextmanager
def placed(folder: Path, *headings: str) -> Iterator[dict[str, ModuleType]]:
    """Give the modules of these sections by their paths, found where they are said to lie; gone after the block."""
    files = {path: code for heading in headings for path, code in files_of(heading).items()}
    packages = {path: importlib.import_module(_name(str(Path(path).parent))) for path in files}
    for path, code in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(code)
        packages[path].__path__.append(str((folder / path).parent))
    importlib.invalidate_caches()
    try:
        yield {path: importlib.import_module(_name(path)) for path in files}
    finally:
        for path, package in packages.items():
            package.__path__.remove(str((folder / path).parent))
            sys.modules.pop(_name(path), None)
            vars(package).pop(Path(path).stem, None)


def _name(path: str) -> str:
    return f"kinebert.{path.removesuffix('.py').replace('/', '.')}"


def example(heading: str, folder: Path) -> ModuleType:
    """Write the Python block of the section ``## heading`` into ``folder``, and import it from there."""
    path = folder / f"{re.sub('[^a-z]+', '_', heading.lower())}.py"
    path.write_text(code_of(heading))
    spec = importlib.util.spec_from_file_location(f"contributing_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
