"""Each part of a cluster is killed in the middle of work: what survives, and what to do then."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from tests.helpers.processes import Program
from tests.helpers.whole_cluster import WholeCluster
from tests.infra.cluster.conftest import EXTRACT, SHARDS, Pipeline, recipe_text, shards_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

EPOCHS = 40
_END_S = 900


@pytest.fixture(scope="module")
def longer(cluster: WholeCluster) -> Path:
    """The recipe of a training that is long enough to lose something."""
    path = cluster.folder / "longer.toml"
    path.write_text(recipe_text(EPOCHS))
    return path


def begun(cluster: WholeCluster, folder: str) -> Program:
    """An extraction that has finished some shards, and not most of them."""
    job = cluster.kinebert(*EXTRACT, f"s3://kinebert/sets/{folder}")
    job.wait_for(lambda: len(shards_of(cluster, folder)) >= 2, "two shards", _END_S)
    assert len(shards_of(cluster, folder)) < SHARDS - 2
    return job


def epochs_done(job: Program) -> int:
    """The last epoch that a training has told."""
    return max(map(int, re.findall(r"^epoch (\d+)/\d+: train", job.stdout_file.read_text(), re.MULTILINE)), default=0)


def trained(job: Program, epochs: int) -> None:
    """Wait until a training has told so many epochs, which are not all."""
    job.wait_for(lambda: epochs_done(job) >= epochs, f"epoch {epochs}", _END_S)
    assert epochs_done(job) < EPOCHS


def history(cluster: WholeCluster, run: str) -> list[dict[str, Any]]:
    """The numbers of the epochs, without what a clock measures."""
    rows = json.loads(cluster.objects(f"kinebert/runs/{run}")["history.json"])
    return [{name: value for name, value in row.items() if name not in ("seconds", "clips_per_s")} for row in rows]


def said(job: Program) -> str:
    """All that whoever submitted has read."""
    return job.stdout_file.read_text() + job.errors()


def test_a_worker_node_in_an_extraction(cluster: WholeCluster, pipeline: Pipeline) -> None:
    """The job waits for a node in its place, and goes on to the same bytes."""
    job = begun(cluster, "node")
    cluster.worker.kill()
    time.sleep(5)
    assert job.process.poll() is None, said(job)
    cluster.worker.start()
    assert job.wait(_END_S) == 0, said(job)
    assert cluster.objects("kinebert/sets/node") == pipeline.shards


def test_the_store_for_a_moment_in_an_extraction(cluster: WholeCluster, pipeline: Pipeline) -> None:
    job = begun(cluster, "moment")
    cluster.s3.kill()
    time.sleep(5)
    cluster.s3.start()
    assert job.wait(_END_S) == 0, said(job)
    assert cluster.objects("kinebert/sets/moment") == pipeline.shards


def test_the_store_for_good_in_an_extraction(cluster: WholeCluster, pipeline: Pipeline) -> None:
    """The job ends in a line; the same command goes on when the store is back."""
    job = begun(cluster, "gone")
    cluster.s3.kill()
    status = job.wait(_END_S)
    cluster.s3.start()
    assert status == 2, said(job)
    assert "Traceback" not in said(job)
    assert len(shards_of(cluster, "gone")) >= 2
    cluster.done(*EXTRACT, "s3://kinebert/sets/gone", timeout_s=_END_S)
    assert cluster.objects("kinebert/sets/gone") == pipeline.shards


@pytest.fixture(scope="module")
def tracked(cluster: WholeCluster, pipeline: Pipeline, longer: Path) -> Program:
    """A training whose MLflow loses its database, and then is lost itself."""
    job = cluster.kinebert("train", str(longer), "--output", "s3://kinebert/runs/tracked")
    trained(job, 1)
    cluster.postgres.kill()
    trained(job, epochs_done(job) + 2)
    cluster.postgres.start()
    cluster.mlflow.kill()
    trained(job, epochs_done(job) + 2)
    cluster.mlflow.start()
    job.wait(_END_S)
    return job


def test_mlflow_and_its_database_in_a_training(cluster: WholeCluster, tracked: Program) -> None:
    """Training goes on; numbers come later. Pictures do not: they are named, and the status says that some lack."""
    assert tracked.wait() == 3, said(tracked)
    assert said(tracked).count("MLflow is out of reach; its numbers are kept and sent later") == 1
    assert "are lost" not in said(tracked)
    assert {*re.findall(r"^MLflow did not take ([\w ]+):", said(tracked), re.MULTILINE)} == {"the picture clips"}
    client = MlflowClient(cluster.mlflow_address)
    (experiment,) = client.search_experiments(filter_string="name = 'kinebert'")
    (run,) = client.search_runs([experiment.experiment_id], "attributes.run_name = 'tracked'")
    assert run.info.status == "FINISHED"
    losses = client.get_metric_history(run.info.run_id, "epoch/val_loss")
    told = {one.step: one.value for one in losses}
    assert told == {row["epoch"]: row["val_loss"] for row in history(cluster, "tracked")}
    assert len(told) == EPOCHS


def test_the_worker_node_and_then_the_head_in_a_training(cluster: WholeCluster, tracked: Program, longer: Path) -> None:
    """Without the node it goes on from its last state by itself; without the head, by the same command."""
    command = ["train", str(longer), "--output", "s3://kinebert/runs/killed"]
    job = cluster.kinebert(*command)
    trained(job, 2)
    cluster.worker.kill()
    cluster.worker.start()
    trained(job, epochs_done(job) + 2)
    assert "a worker was lost" in said(job)
    cluster.head.kill()
    assert job.wait(_END_S) == 2, said(job)
    assert "lost the connection" in job.errors().splitlines()[-1]
    assert "Traceback" not in said(job)
    cluster.worker.wait_until_ended(_END_S)
    cluster.head.start()
    cluster.worker.start()
    told = cluster.done(*command, timeout_s=_END_S)
    # without a head workers train on for a minute, perhaps to the end
    assert re.search(r"holds this training, (begun earlier; going on in epoch|whose 40 epochs are over)", told), told
    assert history(cluster, "killed") == history(cluster, "tracked")
