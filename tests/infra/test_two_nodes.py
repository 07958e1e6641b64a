"""Two nodes that share nothing but a network and a store: what one machine hides, such as a common disk, shows here.

Tests stand in the order in which a user would come by: a set, a training, an evaluation, then mistakes, then a network
that is far and loses packets.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.job_clusters import RAY
from tests.helpers.requirements import imported
from tests.helpers.sets import make_videos, small_recipe
from tests.helpers.two_nodes import DISK, Node, TwoNodes, two_nodes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SIZE = ("--width", "32", "--height", "32", "--videos-per-shard", "2")
PUT = """
import pathlib, sys
from kinebert.preprocessing import storage
for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.*")):
    storage.write_bytes(f"{sys.argv[2]}/{path.relative_to(sys.argv[1])}", path.read_bytes())
"""
GET = """
import pathlib, sys
from kinebert.preprocessing import storage
pathlib.Path(sys.argv[2]).mkdir(parents=True)
for name in storage.list_files(sys.argv[1]):
    (pathlib.Path(sys.argv[2]) / name).write_bytes(storage.read_bytes(f"{sys.argv[1]}/{name}"))
"""
ALONE = """
from kinebert.preprocessing.datasets.manifest import read_manifest
from kinebert.preprocessing.recipe import FrameRecipe
from tests.helpers.sets import make_set
make_set(read_manifest("s3://bucket/videos.parquet"), "s3://bucket/alone", FrameRecipe(width=32, height=32))
"""
DIGESTS = """
import hashlib, json, sys
import pyarrow.fs as pafs
from kinebert.preprocessing import storage
fs, path = storage.open_filesystem(sys.argv[1])
found = fs.get_file_info(pafs.FileSelector(path, recursive=True))
secret = sys.argv[2].encode()
files = {one.path: fs.open_input_file(one.path).read() for one in found if one.type == pafs.FileType.File}
names = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
print(json.dumps([names, [name for name, data in files.items() if secret in data]]))
"""
NETWORK = """
import json, sys
from kinebert.training.checkpoints.recognizer import load_recognizer
from kinebert.training.checkpoints.state import load_state
model, info = load_recognizer(f"{sys.argv[1]}/last.pt")
state = load_state(sys.argv[1])
rows = [{name: value for name, value in row.items() if "loss" in name or "top1" in name} for row in state.history]
print(json.dumps([rows, {name: value.double().sum().item() for name, value in model.state_dict().items()}]))
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    """The nodes, with videos and their manifest in the store, and the videos on the first node's disk."""
    imported("moto", "s3")
    folder = tmp_path_factory.mktemp("two-nodes")
    make_videos(folder / "videos", [12] * 12)
    with two_nodes() as found:
        shutil.copytree(folder / "videos", disk(found.first) / "videos")
        found.first.checked(sys.executable, "-c", PUT, f"{DISK}/videos", "s3://bucket/videos")
        found.done("index", "folder", "s3://bucket/videos", "--output", "s3://bucket/videos.parquet")
        yield found


@pytest.fixture(scope="module")
def sets(cluster: TwoNodes) -> str:
    """A set of frames that both nodes have made, and one of flow."""
    manifest = ("--manifest", "s3://bucket/videos.parquet")
    cluster.done(
        "extract", *manifest, "--frames", "s3://bucket/rgb", "--flow", "s3://bucket/flow", *SIZE, timeout_s=900
    )
    return "s3://bucket/rgb"


@pytest.fixture(scope="module")
def run(cluster: TwoNodes, sets: str) -> str:
    """A training with a worker on each node."""
    (disk(cluster.first) / "recipe.toml").write_text(f'amp = "fp64"\n{small_recipe(sets, epochs=2)}')
    cluster.done("train", f"{DISK}/recipe.toml", "--output", "s3://bucket/run", "--set", "workers=2", timeout_s=900)
    return "s3://bucket/run"


def disk(node: Node) -> Path:
    """A node's own disk, as this process can get at it."""
    return Path(f"/proc/{node.pid}/root{DISK}")


def digests(cluster: TwoNodes, uri: str) -> dict[str, str]:
    """Digests of all files below a place in the store, by their paths there."""
    names: dict[str, str] = json.loads(cluster.first.checked(sys.executable, "-c", DIGESTS, uri, "-"))[0]
    return {name.partition("/")[2].partition("/")[2]: digest for name, digest in names.items()}


def test_they_share_nothing(cluster: TwoNodes) -> None:
    (disk(cluster.first) / "here").write_text("x")
    assert "here" not in cluster.second.checked("ls", DISK)
    assert cluster.second.checked("hostname").strip() == "second"
    first, second = (node.checked("ls", "/proc/1/root/tmp/ray").split() for node in (cluster.first, cluster.second))
    assert not {*first} & {*second} - {"ray_current_cluster", "session_latest"} or first != second
    nodes = json.loads(cluster.first.checked(sys.executable, *RAY, "list", "nodes", "--format", "json"))
    assert {node["node_ip"] for node in nodes} == {"10.231.77.1", "10.231.77.2"}


def test_a_set_of_two_nodes_is_that_of_one_process(cluster: TwoNodes, sets: str) -> None:
    cluster.first.checked(sys.executable, "-c", ALONE)
    alone = digests(cluster, "s3://bucket/alone")
    assert len([name for name in alone if name.endswith(".parquet")]) == 7
    assert digests(cluster, sets) == alone
    cluster.done("verify", "s3://bucket/flow")  # ends with status 0 if nothing is wrong


def test_each_node_compiles_for_itself_in_a_folder_of_its_owner(cluster: TwoNodes, sets: str) -> None:
    for node in (cluster.first, cluster.second):
        cache = f"{DISK}/home/.cache/kinebert"
        assert node.files(cache), f"{node.name} has solved flow, by kernels that it compiled"
        assert node.checked("stat", "--format=%a", cache).strip() == "700"


def test_a_training_has_a_worker_on_each(cluster: TwoNodes, run: str) -> None:
    assert {"best.pt", "last.pt", "state.pt", "report/report.md"} <= digests(cluster, run).keys()
    listed = cluster.first.checked(
        sys.executable, *RAY, "list", "actors", "--detail", "--format", "json", "--limit", "1000"
    )
    workers = [actor for actor in json.loads(listed) if actor["class_name"].endswith("RayTrainWorker")]
    assert len({actor["node_id"] for actor in workers}) == 2
    again = cluster.done("train", f"{DISK}/recipe.toml", "--output", run, "--set", "workers=2")
    assert "holds this training" in again or "done" in again


def test_an_evaluation_by_both(cluster: TwoNodes, run: str) -> None:
    told = cluster.done("evaluate", f"{run}/best.pt", "--part", "test", "--workers", "2")
    assert re.search(r"top-?1", told, re.IGNORECASE), told
    assert any(name.endswith("scores.parquet") for name in digests(cluster, run))


MISTAKES: list[Any] = [
    pytest.param(
        ("extract-frames", "--manifest", "s3://bucket/videos.parquet", "--output", f"{DISK}/set", *SIZE),
        rf"{DISK}/set: the node second does not see the folder that this program works in, but nothing\. Put it on",
        id="set",
    ),
    pytest.param(
        ("extract-frames", "--manifest", "s3://bucket/near.parquet", "--output", "s3://bucket/near", *SIZE),
        rf"{DISK}/videos/class\d: the node second sees no such folder of videos\. Put it on storage that all nodes",
        id="videos",
    ),
    pytest.param(
        ("train", f"{DISK}/recipe.toml", "--output", f"{DISK}/run", "--set", "workers=2"),
        rf"{DISK}/run: the node second does not see the folder that this program works in, but nothing\. Put it on",
        id="run",
    ),
    pytest.param(
        (
            "train",
            f"{DISK}/recipe.toml",
            "--output",
            "s3://bucket/other",
            "--set",
            "workers=2",
            f"data.shards={DISK}/rgb",
        ),
        rf"{DISK}/rgb/dataset.json: the node second sees no such file\. Put it on storage that all nodes mount",
        id="shards",
    ),
]


@pytest.mark.parametrize(("words", "said"), MISTAKES)
def test_what_is_not_shared_is_told_before_anything_is_lost(
    cluster: TwoNodes, run: str, words: tuple[str, ...], said: str
) -> None:
    if not (disk(cluster.first) / "rgb").exists():
        cluster.first.checked(sys.executable, "-c", GET, "s3://bucket/rgb", f"{DISK}/rgb")
        cluster.done("index", "folder", f"{DISK}/videos", "--output", "s3://bucket/near.parquet")
    found = cluster.submit(*words)
    assert found.returncode == 2, found.stdout
    (line,) = [line for line in found.stdout.splitlines() if line.startswith("error: ")]
    assert re.search(said, line), line
    assert "Traceback" not in found.stdout


def test_the_keys_of_the_store_are_told_nowhere(cluster: TwoNodes, run: str) -> None:
    """Neither in the store, nor by Ray's logs of either node, nor by MLflow."""
    secret = cluster.env["AWS_SECRET_ACCESS_KEY"]
    names, with_secret = json.loads(cluster.first.checked(sys.executable, "-c", DIGESTS, "s3://bucket", secret))
    assert len(names) > 40
    assert with_secret == []
    for node in (cluster.first, cluster.second):
        logs = {**node.files("/tmp/ray/session_latest/logs"), **node.files(DISK)}
        assert len(logs) > 10
        assert [name for name, data in logs.items() if secret.encode() in data] == []


def test_a_far_network_that_loses_packets_changes_nothing(cluster: TwoNodes, run: str) -> None:
    """50 ms either way, and one packet of a hundred: slower, and the same bytes and numbers."""
    cluster.cable.disturb(50, 0.01)
    try:
        assert cluster.cable.round_trip_ms() >= 100
        manifest = ("--manifest", "s3://bucket/videos.parquet")
        cluster.done("extract-frames", *manifest, "--output", "s3://bucket/far", *SIZE, timeout_s=900)
        words = ("train", f"{DISK}/recipe.toml", "--output", "s3://bucket/far-run", "--set", "workers=2")
        cluster.done(*words, timeout_s=1500)
    finally:
        cluster.cable.disturb(0, 0)
    assert digests(cluster, "s3://bucket/far") == digests(cluster, "s3://bucket/rgb")
    near, far = (cluster.first.checked(sys.executable, "-c", NETWORK, uri) for uri in (run, "s3://bucket/far-run"))
    assert far == near
