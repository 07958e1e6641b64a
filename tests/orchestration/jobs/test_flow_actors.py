"""Flow by actors that hold shares of a GPU: the bytes, faults and words are those of plain tasks."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.sets.verify import verify_set
from tests.helpers.actors import FLOW, OPENCV
from tests.helpers.paths import ROOT
from tests.helpers.sets import make_set
from tests.helpers.videos import manifest_rows

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("actors")


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    """A cluster of its own, since Ray has one per process; about 40 s."""
    env = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    command = [sys.executable, "-m", "tests.helpers.actors", str(folder)]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return result


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_actors_work_on_nodes_with_gpus_alone_and_give_the_bytes_of_one_process(
    found: dict[str, Any], folder: Path
) -> None:
    made = found["actors"]
    assert made["said"] == ["solver: opencv on 1 GPU, fed by 2 tasks"]
    assert made["shards"] == 6
    assert made["workers"] <= 2
    rows = manifest_rows(folder / "videos", part=lambda i: "val" if i % 3 == 2 else "train")
    make_set(rows, folder / "alone", FLOW, videos_per_shard=1, solver=OPENCV)
    assert content(folder / "actors") == content(folder / "alone")
    assert verify_set(str(folder / "actors")).problems == ()


def test_videos_that_kill_their_actors_are_given_up_and_the_others_are_made(
    found: dict[str, Any], folder: Path
) -> None:
    rejected = {video["video_id"]: video["problem"] for video in found["deadly"]["dataset"]["rejected"]}
    assert rejected == {
        "class1/v01": "crash: its worker process died 3 times at this video",
        "class0/v02": "time: no image came for 2 s (stall_limit_s)",
    }
    ours, whole = ShardSet.open(str(folder / "deadly")), ShardSet.open(str(folder / "actors"))
    assert len(ours.videos) == len(whole.videos) - 2
    for video in ours.videos:
        every = range(video.num_images)
        assert ours.read_jpegs(video, every) == whole.read_jpegs(whole.entry(video.video_id), every)
    assert verify_set(str(folder / "deadly")).problems == ()


def test_mistakes_and_bugs_arrive_as_they_were_said(found: dict[str, Any], folder: Path) -> None:
    assert found["user"]["error"] == "UserError"
    assert found["user"]["text"].endswith(".mp4: expected a clean lens.")
    assert found["bug"]["error"].startswith("RayTaskError")
    assert "KeyError: 'bug'" in found["bug"]["text"]
    assert found["too much"]["error"] == "ConfigError"
    assert "gpus_per_task = 2, but no node has that beside 1 CPUs" in found["too much"]["text"]


def test_a_gpu_that_torch_cannot_use_is_said_and_not_replaced_by_a_slow_cpu(found: dict[str, Any]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("torch can use the GPUs of this machine")
    assert found["no torch"]["said"] == ["solver: torch on 1 GPU, fed by 2 tasks"]
    assert found["no torch"]["error"] == "UserError"
    assert "holds a GPU, but torch sees none there" in found["no torch"]["text"]
