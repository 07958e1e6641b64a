"""Which code this is: told by git in a checkout, by whoever submits a job, or by a build of a wheel."""

import subprocess
import sys
from pathlib import Path

import pytest

import kinebert
from kinebert import commits
from kinebert.commits import VARIABLE, Commit, find_commit, record
from kinebert.pipelines import cli
from tests.helpers.paths import ROOT


def git(folder: Path, *args: str) -> str:
    name = ["-c", "user.name=n", "-c", "user.email=e@x"]
    done = subprocess.run(["git", "-C", str(folder), *name, *args], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of one file, below a folder that may become a checkout; no other checkout is around it."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "checkout" / "kinebert"
    folder.mkdir(parents=True)
    (folder / "commits.py").write_text("")
    return folder


def committed(package: Path) -> str:
    """Make a checkout of the package, and return the commit."""
    git(package.parent, "init", "-q")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-qm", "one")
    return git(package.parent, "rev-parse", "HEAD")


def test_a_checkout_is_asked_for_the_commit_and_whether_it_was_changed_since(package: Path) -> None:
    commit = committed(package)
    assert find_commit(package) == Commit(commit, False)
    (package / "notes.txt").write_text("nothing that is tracked")
    assert find_commit(package) == Commit(commit, False)
    (package / "commits.py").write_text("changed")
    assert find_commit(package) == Commit(commit, True)


def test_a_hook_of_another_checkout_does_not_speak_for_this_one(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = committed(package)
    git(tmp_path, "init", "-q", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    assert find_commit(package) == Commit(commit, False)


def test_an_installed_package_is_not_of_the_checkout_that_it_happens_to_lie_in(package: Path) -> None:
    committed(package)
    installed = package.parent / ".venv" / "site-packages" / "kinebert"
    installed.mkdir(parents=True)
    (installed / "commits.py").write_text("")
    assert find_commit(installed) == Commit(None, None)


def test_outside_of_a_checkout_and_without_git_nothing_is_made_up(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_commit(package) == Commit()
    committed(package)
    monkeypatch.setenv("PATH", str(package))
    assert find_commit(package) == Commit()


@pytest.mark.parametrize("changed", [True, False, None])
def test_a_copy_of_the_package_bears_what_was_known_when_it_was_made(
    package: Path, changed: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Commit("0123456789abcdef0123456789abcdef01234567", changed)
    record(known, package)
    assert find_commit(package) == known
    record(Commit(), package)  # of a later build that knows nothing
    assert find_commit(package) == Commit()
    monkeypatch.setenv(VARIABLE, known.line())  # as a submitted job gets it
    assert find_commit(package) == known


def test_a_file_that_is_shared_with_the_source_is_replaced_not_written_to(package: Path, tmp_path: Path) -> None:
    """Source archives are made of hard links."""
    record(Commit("abc", False), package)
    (tmp_path / "commit.txt").hardlink_to(package / "commit.txt")
    record(Commit("def", True), tmp_path)
    assert (find_commit(package).id, find_commit(tmp_path).id) == ("abc", "def")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Commit("0123456789abcdef0123456789abcdef01234567", False), "0123456"),
        (Commit("0123456789abcdef0123456789abcdef01234567", True), "0123456, modified"),
        (Commit("v1-of-ours", None), "v1-of-ours"),
        (Commit(), "commit unknown"),
    ],
)
def test_people_read_it_short(
    found: Commit, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "find_commit", lambda: found)
    monkeypatch.setattr("sys.argv", ["kinebert", "--version"])
    assert cli.main() == 0
    assert capsys.readouterr().out == f"kinebert {kinebert.__version__} ({text})\n"


def test_the_version_is_told_without_the_packages_that_take_long_to_import(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv[1:] = ['--version']; from kinebert.pipelines import cli; cli.main()\n"
        "print([n for n in ('torch', 'ray', 'mlflow', 'cv2', 'av', 'numpy', 'pyarrow', 'tyro') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout.startswith(f"kinebert {kinebert.__version__} (")
    assert done.stdout.endswith(")\n[]\n"), done.stdout + done.stderr


def test_the_build_knows_this_package(tmp_path: Path) -> None:
    """``setup.py`` runs the module by its path, without the package."""
    code = f"import runpy; print(runpy.run_path({commits.__file__!r})['find_commit']())"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.stdout.strip() == str(find_commit()), done.stderr


def test_python_m_kinebert_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "kinebert", "trian"], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (2, "error: there is no program 'trian'. Did you mean train?\n")
