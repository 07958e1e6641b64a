"""A wheel in an environment of its own, outside of a checkout: what is in it, and that the programs work."""

import importlib.util
import json
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

import kinebert
from kinebert.preprocessing.recipe import FrameRecipe
from tests.helpers.foreign import FOLDERS, foreign_packages
from tests.helpers.installed import COMMIT, build, started
from tests.helpers.job_clusters import job_cluster
from tests.helpers.requirements import needs
from tests.helpers.sets import make_rows, make_set, small_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
Kinebert = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder in which packages of somebody else bear the names of ours."""
    foreign_packages(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def run(python: Path, here: Path) -> Kinebert:
    """What runs the installed command."""

    return lambda *args, **env: started([str(python.with_name("kinebert")), *args], here, env)


def shipped(source: Path) -> set[str]:
    """What an installation must have of the checkout's folders: all that is in them."""
    files = [path for name in FOLDERS for path in (source / name).rglob("*") if path.is_file()]
    files += [path for path in (source / "kinebert").iterdir() if path.is_file()]
    names = {str(path.relative_to(source)) for path in files if "__pycache__" not in path.parts}
    return {name if name.startswith("kinebert/") else f"kinebert/{name}" for name in names}


def test_a_wheel_has_one_package_with_recipes_templates_types_and_the_licence(wheel: Path, source: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"kinebert"}
    assert {"kinebert/py.typed", "kinebert/commit.txt"} <= names
    assert shipped(source) <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    direct = build("wheel", source, source.parent / "direct")
    assert set(zipfile.ZipFile(direct).namelist()) == names - {"kinebert/commit.txt"}, "nobody knew the commit"


def test_a_source_archive_has_folders_in_the_place_of_links_and_what_one_reads_first(
    archive: Path, source: Path
) -> None:
    with tarfile.open(archive) as file:
        members = file.getmembers()
    assert not [member.name for member in members if member.issym() or member.islnk()]
    names = {member.name.partition("/")[2] for member in members}
    documents = {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "SECURITY.md", "docs/training.md", "setup.py"}
    assert shipped(source) | documents <= names
    assert not [name for name in names if name.startswith("tests/")]


def test_it_says_which_code_it_is(run: Kinebert, python: Path, here: Path) -> None:
    said = f"kinebert {kinebert.__version__} (0123456, modified)\n"
    assert run("--version").stdout == said
    assert started([str(python), "-m", "kinebert", "--version"], here, {}).stdout == said
    described = run("describe", "--backbone", "resnet18", "--json")
    assert '"parameters"' in described.stdout, described.stderr
    where = started([str(python), "-c", "import kinebert; print(kinebert.__file__)"], here, {})
    assert Path(where.stdout).is_relative_to(python.parents[1]), where


def test_the_demo(run: Kinebert, here: Path) -> None:
    """Of so few videos nothing is learnt, which it says; each of its steps is done."""
    done = run("demo", "--output", "demo", "--videos-per-class", "4")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "NOT shown:" in done.stdout
    assert (here / "demo" / "scores" / "two_stream" / "report" / "report.md").exists()
    assert commits(here / "demo" / "mlflow.db", "demo") == {(COMMIT, "true")}


def test_a_training_and_what_is_made_of_it(run: Kinebert, here: Path) -> None:
    make_set(make_rows(here / "videos", [6] * 8), here / "set", FrameRecipe(resize="none"))
    (here / "mine.toml").write_text(small_recipe(here / "set", epochs=1, head="bert"))
    done = run("train", "mine.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert commits(here / "runs" / "mlflow.db", "kinebert") == {(COMMIT, "true")}
    scored = run("evaluate", "runs/mine/best.pt", "--part", "val")
    assert scored.returncode == 0, scored.stdout + scored.stderr
    drawn = run("attend", "runs/mine/best.pt", "--videos", "1", "--json")
    assert json.loads(drawn.stdout)["clips"], drawn.stderr


@needs(
    "jobs",
    importlib.util.find_spec("aiohttp_cors") is not None and importlib.util.find_spec("grpc") is not None,
    "jobs can be submitted to a cluster of ray[default] only",
)
def test_a_job_of_a_cluster_knows_the_commit_too(run: Kinebert, python: Path, here: Path, tmp_path: Path) -> None:
    make_set(make_rows(here / "videos", [6] * 8), here / "set", FrameRecipe(resize="none"))
    (here / "mine.toml").write_text(small_recipe(here / "set", epochs=1))
    with job_cluster(tmp_path, "token", str(python)) as env:
        looked = run("submit", "--", "doctor", "--json", str(here), **env)
        assert '"subject": "MLflow"' in looked.stdout, looked.stderr
        assert " answers, by the token of the environment: 1 node, 2 CPUs" in looked.stdout
        done = run("submit", "--", "train", "mine.toml", "--output", str(here / "runs" / "job"), **env)
        assert done.returncode == 0, done.stdout + done.stderr
    assert " training and " in done.stdout
    assert commits(here / "runs" / "mlflow.db", "kinebert") == {(COMMIT, "true")}


def commits(store: Path, experiment: str) -> set[tuple[str, str]]:
    """Commit and whether it was changed, of all runs of an experiment."""
    client = MlflowClient(f"sqlite:///{store}")
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    tags = [run.data.tags for run in client.search_runs([found.experiment_id])]
    return {(one["mlflow.source.git.commit"], one["git_changed"]) for one in tags}
