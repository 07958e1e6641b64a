"""What is read before anything is computed comes without torch, which takes seconds to import."""

import pkgutil
import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT

CLIPS = [
    f"kinebert.training.clips.{module.name}" for module in pkgutil.iter_modules([str(ROOT / "training" / "clips")])
]
RECIPES = [
    f"kinebert.training.recipe.{module.name}" for module in pkgutil.iter_modules([str(ROOT / "training" / "recipe")])
]
OTHERS = ["kinebert.training.run_folder", "kinebert.training.shards", "kinebert.training.loop.events"]


def imported_by(names: list[str]) -> list[str]:
    """Which of the slow libraries a fresh Python has, once it has imported ``names``."""
    code = (
        f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
        "print(*(name for name in ('torch', 'ray', 'mlflow', 'pandas', 'matplotlib') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("names", [CLIPS, RECIPES, OTHERS], ids=["clips", "recipes", "others"])
def test_torch_is_not_imported(names: list[str]) -> None:
    assert len(names) > 1
    assert imported_by(names) == []


def test_the_networks_are_where_torch_comes_from() -> None:
    """So the tests above would see it."""
    assert imported_by(["kinebert.training.models"]) == ["torch"]
