"""What an earlier commit made goes on: shard sets, trainings, scores, MLflow's runs and registered models.

The earlier commit is taken out of the history and its own programs make the things, with the packages of today.
"""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow.tracking import MlflowClient

from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.preprocessing.sets.reader import ShardSet
from tests.helpers.paths import ROOT
from tests.helpers.requirements import missing
from tests.helpers.sets import make_videos, small_recipe

BEFORE = "1f3846d9"
"""The last commit of four packages at the top, before there was one."""
OLD_SCORES = "runs/whole/split1-val-multi-last"
LENGTHS = (9, 12, 7, 15, 9, 11, 8, 10, 13, 9, 12, 10)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@dataclass(frozen=True)
class Version:
    """A version's programs."""

    root: Path
    module: str

    def start(self, folder: Path, *args: str) -> "subprocess.Popen[str]":
        """Start a program in ``folder``, in a session of its own."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MLFLOW_"))}
        env |= {"PYTHONPATH": str(self.root), "HOME": str(folder), "MLFLOW_DISABLE_TELEMETRY": "true"}
        return subprocess.Popen(
            [sys.executable, "-m", self.module, *args],
            cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def run(self, folder: Path, *args: str) -> str:
        """Run a program in ``folder`` and return what it prints."""
        process = self.start(folder, *args)
        printed, _ = process.communicate(timeout=600)
        assert process.returncode == 0, printed
        return printed


NOW = Version(ROOT, "kinebert.pipelines.cli")
Show = Callable[[str], str]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Version:
    packed = subprocess.run(["git", "-C", str(ROOT), "archive", BEFORE], capture_output=True, check=False)
    if packed.returncode:
        missing("history", f"this clone has no history back to {BEFORE}")
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return Version(folder, "pipelines.cli")


def wait_for(process: "subprocess.Popen[str]", condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def made(before: Version, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the earlier version indexed, extracted, trained, evaluated and registered."""
    folder = tmp_path_factory.mktemp("made")
    make_videos(folder / "videos", LENGTHS)
    before.run(folder, "index", "folder", "videos", "--output", "manifest.parquet")
    extract = ["--manifest", "manifest.parquet", "--resize", "none", "--videos-per-shard", "3", "--output"]
    before.run(folder, "extract-frames", *extract, "sets/rgb")
    before.run(folder, "extract-flow", *extract, "sets/flow", "--backend", "opencv")
    recipe = small_recipe("sets/rgb", epochs=8, head="bert").replace("batch_size", "save_every_s = 0\nbatch_size", 1)
    (folder / "small.toml").write_text(recipe)
    before.run(folder, "train", "small.toml", "--output", "runs/whole")
    killed = before.start(folder, "train", "small.toml", "--output", "runs/killed")
    wait_for(killed, (folder / "runs/killed/best.pt").exists)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    time.sleep(2)  # its cluster ends by itself
    before.run(folder, "evaluate", "runs/whole/last.pt", "--part", "val", "--views", "multi")
    before.run(folder, "register", "runs/whole/last.pt", "--name", "gestures")
    return folder


def test_extraction_finds_its_work_done(made: Path) -> None:
    for modality, options in (("frames", []), ("flow", ["--backend", "opencv"])):
        output = made / "sets" / ("rgb" if modality == "frames" else "flow")
        files = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in output.glob("*")}
        again = ["--manifest", "manifest.parquet", "--resize", "none", "--videos-per-shard", "3", *options]
        printed = NOW.run(made, f"extract-{modality}", *again, "--output", str(output))
        assert f"{len(LENGTHS)} of {len(LENGTHS)} videos" in printed
        assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in output.glob("*")} == files
        NOW.run(made, "verify", str(output))


def test_an_extraction_anew_gives_the_same_pictures(made: Path) -> None:
    """Every image byte for byte. What lies around them has checksums now, so the shards' own digests differ."""
    anew = ["--manifest", "manifest.parquet", "--resize", "none", "--videos-per-shard", "3", "--output", "sets/anew"]
    NOW.run(made, "extract-frames", *anew)
    now, before = ShardSet.open(str(made / "sets/anew")), ShardSet.open(str(made / "sets/rgb"))
    assert (now.videos, now.rejected, now.digest) == (before.videos, before.rejected, before.digest)
    for entry in before.videos:
        images = range(entry.num_images)
        assert now.read_jpegs(entry, images) == before.read_jpegs(entry, images)


def test_a_killed_training_goes_on_to_the_same_weights(made: Path) -> None:
    done = len(json.loads((made / "runs/killed/history.json").read_text())) if (
        made / "runs/killed/history.json"
    ).exists() else 0  # fmt: skip
    assert done < 8
    printed = NOW.run(made, "train", "small.toml", "--output", "runs/killed")
    assert "continu" in printed or "going on" in printed or "goes on" in printed
    whole, killed = (
        torch.load(made / "runs" / name / "last.pt", weights_only=True) for name in ("whole", "killed")
    )  # fmt: skip
    assert whole["state_dict"].keys() == killed["state_dict"].keys()
    for key, value in whole["state_dict"].items():
        assert torch.equal(value, killed["state_dict"][key]), key
    assert whole["digest"] == killed["digest"]
    address = RunAddress.load(str(made / "runs/killed"))
    assert address is not None
    client = MlflowClient(f"sqlite:///{made}/runs/mlflow.db")
    run = client.get_run(address.run_id)
    told = [metric.step for metric in client.get_metric_history(address.run_id, "epoch/val_top1")]
    assert sorted(set(told)) == list(range(1, 9)), "the names of then and of now are one curve"
    assert run.data.metrics["val_top1"] == max(
        metric.value for metric in client.get_metric_history(address.run_id, "epoch/val_top1")
    )
    assert run.data.params["eval_batch"] == "16", "a run of then tells everything, as it did"
    assert not [tag for tag in run.data.tags if tag.startswith("now.")]


def test_a_finished_training_has_nothing_left_to_do(made: Path) -> None:
    best = (made / "runs/whole/best.pt").read_bytes()
    NOW.run(made, "train", "small.toml", "--output", "runs/whole")
    assert (made / "runs/whole/best.pt").read_bytes() == best


def test_an_evaluation_gives_the_same_scores_and_fuses_with_the_old(made: Path) -> None:
    from kinebert.training.evaluation.evaluate import read_scores

    arguments = ["runs/whole/last.pt", "--part", "val", "--views", "multi", "--output", "scores/new"]
    NOW.run(made, "evaluate", *arguments)
    old, new = (read_scores(str(made / name / "scores.parquet")) for name in (OLD_SCORES, "scores/new"))
    assert old.video_ids == new.video_ids
    np.testing.assert_array_equal(old.scores, new.scores)
    NOW.run(made, "fuse", f"{OLD_SCORES}/scores.parquet", "scores/new/scores.parquet", "--output", "scores/fused")
    NOW.run(made, "average", f"{OLD_SCORES}/views.parquet")


def test_runs_are_compared(made: Path) -> None:
    NOW.run(made, "evaluate", "runs/killed/last.pt", "--part", "val", "--views", "multi")
    printed = NOW.run(made, "compare", "runs/whole", "runs/killed", "--output", "compared")
    address = RunAddress.load(str(made / "runs/killed"))
    assert address is not None
    data = MlflowClient(f"sqlite:///{made}/runs/mlflow.db").get_run(address.run_id).data
    assert data.metrics["top1"] == data.metrics["split1-val-multi-last/top1"]
    assert data.tags["protocol"].startswith("split1/val, all clips without overlap")
    assert "whole" in printed
    assert "killed" in printed


def test_a_registered_model_loads_and_says_what_predict_says(made: Path) -> None:
    video = str(next(iter(sorted((made / "videos").rglob("*.mp4")))))
    code = (
        "import kinebert, mlflow, pandas, sys\n"
        "model = mlflow.pyfunc.load_model('models:/gestures/1')\n"
        "print(model.predict(pandas.DataFrame({'video': [sys.argv[1]]}))['probability'][0])"
    )
    env = {**os.environ, "PYTHONPATH": str(made / "site"), "MLFLOW_TRACKING_URI": f"sqlite:///{made}/runs/mlflow.db"}
    (made / "site").mkdir()
    (made / "site" / "kinebert").symlink_to(ROOT / "kinebert")  # nothing else of the checkout, as after an installation
    done = subprocess.run([sys.executable, "-c", code, video], cwd=made, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    NOW.run(made, "predict", video, "--checkpoint", "runs/whole/last.pt", "--output", "said")
    said = json.loads((made / "said/predictions.json").read_text())["videos"][0]["top"][0]["probability"]
    assert float(done.stdout.split()[-1]) == pytest.approx(said, rel=1e-5)
