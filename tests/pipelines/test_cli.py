"""The one command: what it lists, explains and refuses."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kinebert.pipelines import cli as kinebert
from tests.helpers.paths import ROOT
from tests.helpers.requirements import missing


@pytest.mark.parametrize("name", list(kinebert.PROGRAMS))
def test_every_program_explains_itself(name: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("sys.argv", ["kinebert", name, "--help"])
    with pytest.raises(SystemExit) as stopped:
        kinebert.main()
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert f"kinebert {name}" in text
    assert (ROOT / "pipelines" / f"{kinebert.PROGRAMS[name][0]}.py").exists()


def test_the_one_command_lists_the_programs(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    for args, status in ((["--help"], 0), ([], 2), (["trian"], 2)):
        monkeypatch.setattr("sys.argv", ["kinebert", *args])
        assert kinebert.main() == status
    printed = capsys.readouterr()
    assert all(name in printed.out for name in kinebert.PROGRAMS)
    assert printed.err.startswith("error: there is no program 'trian'. ")
    assert "train" in printed.err


def test_help_of_the_installed_command_takes_no_cluster_and_little_time(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("kinebert")
    if not command.exists():
        missing("installed", f"{command} is not there")
    done = subprocess.run([command, "--help"], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "extract-frames" in done.stdout


def test_help_and_wrong_options_wait_for_no_torch_ray_or_mlflow() -> None:
    """Every program's module, which is all that its options need, and ``import kinebert``."""
    code = (
        "import importlib, sys, kinebert\n"
        "first = set(sys.modules)\n"
        f"for name in {[module for module, _ in kinebert.PROGRAMS.values()]!r}:\n"
        "    importlib.import_module(f'kinebert.pipelines.{name}')\n"
        "slow = ('torch', 'ray', 'mlflow', 'optuna', 'matplotlib', 'cv2', 'numba', 'pandas', 'scipy')\n"
        "print([name for name in (*slow, 'numpy', 'tyro') if name in first], [n for n in slow if n in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=100)
    assert (done.stdout, done.stderr) == ("[] []\n", "")


@pytest.mark.parametrize(
    ("line", "near"),
    [
        ("train r.toml --devcie cpu", "--device"),
        ("extract-frames --manifest m --outptu s", "--output"),
        ("index foldr v", "folder"),
    ],
)
def test_a_misspelt_option_is_answered_with_the_near_one(
    line: str, near: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("sys.argv", ["kinebert", *line.split()])
    with pytest.raises(SystemExit) as stopped:
        kinebert.main()
    assert stopped.value.code == 2
    assert near in capsys.readouterr().err
