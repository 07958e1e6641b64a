"""One package, ``kinebert``, whatever else of the folders' names lies about; in a checkout and in a job."""

import importlib.util
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import kinebert
from kinebert import old_names
from tests.helpers.foreign import FOLDERS, foreign_packages
from tests.helpers.paths import ROOT

EXTRAS = {
    "kinebert.orchestration.tracking.mirrors.event_files": "tensorboard",
    "kinebert.orchestration.tracking.mirrors.wandb_runs": "wandb",
}
"""Packages that modules of extras import."""
DESCRIBE = ["--backbone", "resnet18", "--json"]


def run(command: list[str], folder: Path, path: list[Path]) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.run([sys.executable, *command], cwd=folder, env=env, capture_output=True, text=True, timeout=120)


def test_the_package_links_to_the_folders_beside_it() -> None:
    for name in FOLDERS:
        assert Path(kinebert.__file__).with_name(name).resolve() == ROOT / name


MODULE, SCRIPT = ["-m", "kinebert.pipelines.describe"], [str(ROOT / "pipelines" / "describe.py")]


@pytest.mark.parametrize(
    ("command", "foreign_first"),
    [
        (MODULE, True),  # a module is looked for in the working directory first
        (SCRIPT, False),
        pytest.param(MODULE, False, marks=pytest.mark.slow),
        pytest.param(SCRIPT, True, marks=pytest.mark.slow),
    ],
)
def test_packages_of_somebody_else_are_left_alone(tmp_path: Path, command: list[str], foreign_first: bool) -> None:
    """They lie in the working directory, and on PYTHONPATH, before or after our root."""
    foreign_packages(tmp_path)
    path = [tmp_path, ROOT] if foreign_first else [ROOT, tmp_path]
    done = run([*command, *DESCRIBE], tmp_path, path)
    assert done.returncode == 0, done.stderr
    assert '"parameters"' in done.stdout


def test_those_packages_are_in_the_way(tmp_path: Path) -> None:
    foreign_packages(tmp_path)
    control = run(["-c", "import training"], tmp_path, [tmp_path])
    assert "this is the training of somebody else" in control.stderr


def test_nothing_imports_by_the_folders_names() -> None:
    """Each module is loaded once and under one name: with the four folders' names barred, every module imports."""
    bar = f"import sys; sys.modules.update(dict.fromkeys({FOLDERS!r}))"
    names = [module.name for module in pkgutil.walk_packages(kinebert.__path__, "kinebert.") if wanted(module.name)]
    assert len(names) > 150
    code = f"{bar}; import importlib; [importlib.import_module(name) for name in {names!r}]"
    done = run(["-c", code], ROOT, [ROOT])
    assert done.returncode == 0, done.stderr[-2000:]


def wanted(name: str) -> bool:
    """Whether a module can be imported here: some need a GPU, or an interpreter that is asked for, or an extra."""
    extra = EXTRAS.get(name)
    return ".tvl1.gpu." not in name and (extra is None or importlib.util.find_spec(extra) is not None)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder on PYTHONPATH that has the package and nothing else, as after an installation."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "kinebert").symlink_to(ROOT / "kinebert")
    return tmp_path / "site"


@pytest.mark.parametrize("name", ["orchestration.video_model", "kinebert.orchestration.video_model"])
def test_the_loader_of_models_registered_in_earlier_versions_is_found(site: Path, name: str) -> None:
    code = f"import kinebert, importlib; print(importlib.import_module({name!r}).__name__)"
    assert run(["-c", code], site, [site]).stdout.strip() == "kinebert.orchestration.tracking.video_model"


def test_a_users_own_package_goes_before_the_old_names(tmp_path: Path, site: Path) -> None:
    (tmp_path / "orchestration").mkdir()
    (tmp_path / "orchestration" / "__init__.py").write_text("MINE = True\n")
    code = "import kinebert, orchestration, orchestration.video_model; print(orchestration.MINE)"
    done = run(["-c", code], tmp_path, [site])
    assert done.stdout.strip() == "True", done.stderr


def test_forwarding_is_installed_once() -> None:
    before = list(sys.meta_path)
    old_names.forward()
    importlib.reload(kinebert)
    assert sys.meta_path == before
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("orchestration.no_such_module")
