"""The published networks' answers, which are not part of this repository."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def golden(shared: Callable[[str], Path]) -> ModuleType:
    """The script that makes weights from published key names, and knows what the published networks answer to them."""
    spec = importlib.util.spec_from_file_location("golden", shared("golden/golden.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
