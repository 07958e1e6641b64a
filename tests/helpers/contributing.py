"""The examples of CONTRIBUTING.md as modules, for the tests that try them."""

import importlib.util
import re
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


def code_of(heading: str) -> str:
    """Return the Python block of the section ``## heading``."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    sections = dict(re.findall(r"^## (.+?)\n(.+?)(?=^## |\Z)", page, flags=re.DOTALL | re.MULTILINE))
    (code,) = re.findall(r"```python\n(.+?)```", sections[heading], flags=re.DOTALL)
    return str(code)


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
