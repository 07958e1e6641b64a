"""A real cluster, and this checkout given to it by ``ray job submit``."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kinebert.preprocessing.datasets.manifest import write_manifest
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from tests.helpers.foreign import foreign_packages
from tests.helpers.installed import copy_of_checkout
from tests.helpers.job_clusters import COMMANDS, HEAD, JOIN, RAY, end_all, job_cluster
from tests.helpers.mlflow_servers import free_port
from tests.helpers.paths import ROOT
from tests.helpers.requirements import needs
from tests.helpers.sets import make_rows, make_set

Submit = Callable[..., subprocess.CompletedProcess[str]]
Cluster = tuple[Path, dict[str, str]]
CPUS = "import ray, sys; ray.init(sys.argv[1], log_to_driver=False); print('cpus', ray.cluster_resources()['CPU'])"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(2000),
    needs(
        "jobs",
        importlib.util.find_spec("aiohttp_cors") is not None and importlib.util.find_spec("grpc") is not None,
        "jobs can be submitted to a cluster of ray[default] only",
    ),
]


@pytest.fixture(scope="module", params=["disabled", "token"])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Start a cluster; gives a copy of the checkout, and the environment in which the cluster's address is known."""
    folder = tmp_path_factory.mktemp("submit")
    checkout = copy_of_checkout(folder / "checkout")
    (checkout / "demo").mkdir()
    (checkout / "demo" / "large").write_bytes(b"x" * 200_000_000)  # an upload of more than 100 MB is refused
    with job_cluster(folder, request.param) as env:
        yield checkout, env


@pytest.fixture(scope="module")
def submit(cluster: Cluster) -> Submit:
    """What submits a command to the cluster with Ray's own program."""
    checkout, env = cluster

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, *RAY, "job", "submit", "--working-dir", ".", "--", *command]
        return subprocess.run(line, env=env, cwd=checkout, capture_output=True, text=True, timeout=600)

    return run


@pytest.fixture(scope="module")
def kinebert(cluster: Cluster) -> Submit:
    """What submits one of our programs with ours."""
    _, env = cluster

    def run(*args: str, **more: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, str(ROOT / "pipelines" / "submit.py"), *args]
        both = {**env, "PYTHONPATH": str(ROOT), **more}
        return subprocess.run(line, env=both, cwd="/", capture_output=True, text=True, timeout=600)

    return run


def test_the_uploaded_copy_runs_and_what_git_ignores_stays_here(submit: Submit) -> None:
    code = "import os, kinebert.orchestration; print('at', kinebert.orchestration.__file__, os.path.exists('demo'))"
    done = submit("python", "-c", code)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("at ")]
    assert "/working_dir_files/_ray_pkg_" in line
    assert line.endswith("False")


def test_a_users_own_packages_in_a_job_do_not_stand_before_ours(
    cluster: Cluster, kinebert: Submit, tmp_path: Path
) -> None:
    """A job from the user's own folder, and one of ours that takes the folder along; the drivers and the tasks run."""
    _, env = cluster
    mine = tmp_path / "mine"
    foreign_packages(mine)
    rows = make_rows(tmp_path / "videos", [5, 9])
    manifest = tmp_path / "manifest.parquet"
    write_manifest(str(manifest), rows)
    args = ["--manifest", str(manifest), "--resize", "none", "--output"]
    line = [sys.executable, *RAY, "job", "submit", "--working-dir", ".", "--"]
    line += ["python", "-m", "kinebert.pipelines.extract_frames", *args, str(tmp_path / "first")]
    installed = {**env, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, env=installed, cwd=mine, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    taken = kinebert("--include", str(mine / "training"), "--", "extract-frames", *args, str(tmp_path / "second"))
    assert taken.returncode == 0, taken.stdout + taken.stderr
    assert ShardSet.open(str(tmp_path / "first")).content == ShardSet.open(str(tmp_path / "second")).content


def test_extraction_as_a_job(submit: Submit, tmp_path: Path) -> None:
    rows = make_rows(tmp_path / "videos", [5, 9, 3, 4])
    manifest, output = tmp_path / "manifest.parquet", tmp_path / "set"
    write_manifest(str(manifest), rows)
    command = ["python", "pipelines/extract_frames.py", "--manifest", str(manifest), "--resize", "none"]
    done = submit(*command, "--videos-per-shard", "2", "--output", str(output))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 videos" in done.stdout
    make_set(rows, tmp_path / "alone", FrameRecipe(resize="none"))
    assert ShardSet.open(str(output)).content == ShardSet.open(str(tmp_path / "alone")).content

    relative = submit(*command, "--output", "set")
    assert relative.returncode != 0
    assert "error: set: a relative path in a submitted job lies in the job's own copy" in relative.stdout


def test_training_as_a_job(submit: Submit, tmp_path: Path) -> None:
    make_set(make_rows(tmp_path / "videos", [5] * 6), tmp_path / "set", FrameRecipe(resize="none"))
    (tmp_path / "tiny.toml").write_text(
        f'batch_size = 2\nmicro_batch = 1\nepochs = 1\nworkers = 2\n[data]\nshards = "{tmp_path}/set"\n'
        'clip_length = 4\ncrop_size = 32\n[model]\nbackbone = "resnet18"\nwidth = 0.125\n'
    )
    done = submit("python", "pipelines/train.py", str(tmp_path / "tiny.toml"), "--output", str(tmp_path / "runs" / "r"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 training and 2 validation videos" in done.stdout
    assert (tmp_path / "runs" / "r" / "best.pt").exists()
    assert (tmp_path / "runs" / "mlflow.db").exists()


def test_our_own_submit(kinebert: Submit, tmp_path: Path) -> None:
    """A recipe of this machine travels along, what is printed comes back, so does the exit status, and it goes on."""
    make_set(make_rows(tmp_path / "videos", [5] * 6), tmp_path / "set", FrameRecipe(resize="none"))
    recipe, output = tmp_path / "mine.toml", tmp_path / "runs" / "r"
    recipe.write_text(
        f'batch_size = 2\nmicro_batch = 1\nepochs = 2\n[data]\nshards = "{tmp_path}/set"\n'
        'clip_length = 4\ncrop_size = 32\n[model]\nbackbone = "resnet18"\nwidth = 0.125\n'
    )
    command = ["--", "train", str(recipe), "--output", str(output)]
    store = f"sqlite:///{tmp_path}/elsewhere.db"
    detached = kinebert("--detach", *command, MLFLOW_TRACKING_URI=store)
    assert detached.returncode == 0, detached.stderr
    assert "to follow it, give the same command without --detach" in detached.stderr
    (job,) = re.findall(r"^(train-\S+):", detached.stderr, re.MULTILINE)
    done = kinebert(*command, MLFLOW_TRACKING_URI=store)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{job}: this command is running already; nothing is submitted" in done.stderr
    assert "4 training and 2 validation videos" in done.stdout
    assert (output / "best.pt").exists()
    assert (tmp_path / "elsewhere.db").exists()
    assert not (tmp_path / "runs" / "mlflow.db").exists()

    again = kinebert(*command, MLFLOW_TRACKING_URI=store)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "going on at epoch 3, step 1" in again.stdout

    relative = kinebert("--", "train", str(recipe))
    assert relative.returncode == 2
    assert "a relative path in a submitted job" in relative.stdout
    assert "ended with status 2" in relative.stderr


def test_a_wrong_token_is_said_in_one_line(kinebert: Submit, cluster: Cluster) -> None:
    if cluster[1]["RAY_AUTH_MODE"] != "token":
        pytest.skip("this cluster asks for none")
    done = kinebert("--", "describe", "--help", RAY_AUTH_TOKEN="0" * 64)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: http://127.0.0.1:")
    assert "give it in RAY_AUTH_TOKEN" in line


def test_the_commands_of_the_page(cluster: Cluster, tmp_path: Path) -> None:
    """Jobs are submitted, followed, listed. The fixture runs the line of the head; that of other nodes is run below."""
    _, env = cluster
    if env["RAY_AUTH_MODE"] != "token":
        pytest.skip("once is enough")
    make_set(make_rows(tmp_path / "videos", [5] * 6), tmp_path / "set", FrameRecipe(resize="none"))
    (tmp_path / "rgb.toml").write_text(
        f'batch_size = 2\nmicro_batch = 1\nepochs = 1\n[data]\nshards = "{tmp_path}/set"\n'
        'clip_length = 4\ncrop_size = 32\n[model]\nbackbone = "resnet18"\nwidth = 0.125\n'
    )
    both = {**env, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/m.db"}
    told = []
    for line in COMMANDS:
        words = shlex.split(line)
        if words[1] not in ("submit", "job"):
            continue
        for page, here in (
            ("http://head:8265", env["RAY_API_SERVER_ADDRESS"]),
            ("/data/", f"{tmp_path}/"),
        ):
            words = [word.replace(page, here) for word in words]
        ours = [str(ROOT / "pipelines" / "submit.py"), *words[2:]]
        command = ours if words[1] == "submit" else [*RAY, *words[1:]]
        done = subprocess.run(
            [sys.executable, *command], env=both, cwd=tmp_path, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        told.append(done.stdout + done.stderr)
    first, _, third, scored, listed = told
    assert "1 workers" in first
    assert "2 workers" in third
    assert "running already" in third
    assert "top-1" in scored
    assert "train-" in listed


def test_a_second_node_joins_by_the_line_of_the_page(tmp_path: Path) -> None:
    """Ray joins no cluster of the loopback interface: this one can be reached for seconds, by who has the token."""
    mark, port, temp = uuid.uuid4().hex, free_port(), tempfile.mkdtemp(prefix="kbt-", dir="/tmp")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PYTHONPATH"))}
    env |= {"HOME": str(tmp_path), "KINEBERT_TEST": mark, "RAY_USAGE_STATS_ENABLED": "0"}
    env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex}
    small = ["--object-store-memory=100000000"]
    ports = [f"--port={port}", f"--dashboard-port={free_port()}", f"--dashboard-agent-listen-port={free_port()}"]
    head = [*HEAD[1:], *ports, "--dashboard-host=127.0.0.1", "--num-cpus=2", f"--temp-dir={temp}", *small]
    join = [word.replace("head:6379", f"127.0.0.1:{port}") for word in JOIN[1:]]
    try:
        for command in ([*RAY, *head], [*RAY, *join, "--num-cpus=1", *small], ["-c", CPUS, f"127.0.0.1:{port}"]):
            line = [sys.executable, *command]
            done = subprocess.run(line, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stdout + done.stderr
        assert "cpus 3.0" in done.stdout
    finally:
        end_all(mark)
        shutil.rmtree(temp, ignore_errors=True)
