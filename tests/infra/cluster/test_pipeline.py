"""The whole of infra/docker/compose.yaml but Docker and Grafana: jobs by a token, over S3, MLflow and PostgreSQL."""

import json

import pytest
from mlflow.tracking import MlflowClient

from tests.helpers.processes import Program
from tests.helpers.whole_cluster import WholeCluster
from tests.infra.cluster.conftest import EPOCHS, SET, SHARDS, VIDEOS, Pipeline

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


def test_a_pipeline_on_the_store_by_its_uri_only(cluster: WholeCluster, pipeline: Pipeline) -> None:
    assert len([name for name in pipeline.shards if name.startswith("shard-")]) == SHARDS
    assert json.loads(pipeline.shards["dataset.json"])["counts"]["videos"] == VIDEOS
    for run in ("bert", "tgap"):
        files = cluster.objects(f"kinebert/runs/{run}")
        assert {"state.pt", "best.pt", "recipe.toml", "history.json"} <= files.keys()
        assert len(json.loads(files["history.json"])) == EPOCHS
        assert not [name for name in files if name.startswith(".ray/")]
    assert "2 workers" in pipeline.printed["bert"]
    assert {"comparison.html"} <= cluster.objects("kinebert/compared").keys()


def test_runs_are_in_mlflow(cluster: WholeCluster, pipeline: Pipeline) -> None:
    """PostgreSQL has their numbers, and the bucket of MLflow's own their files."""
    assert pipeline.printed
    client = MlflowClient(cluster.mlflow_address)
    (experiment,) = client.search_experiments(filter_string="name = 'kinebert'")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert all(run.info.status == "FINISHED" for run in runs.values()), runs
    history = json.loads(cluster.objects("kinebert/runs/bert")["history.json"])
    losses = client.get_metric_history(runs["bert"].info.run_id, "epoch/val_loss")
    assert [one.value for one in sorted(losses, key=lambda one: one.step)] == [row["val_loss"] for row in history]
    kept = [name for name in cluster.objects("mlflow/artifacts", "s3_admin") if runs["bert"].info.run_id in name]
    assert any(name.endswith("/best.pt") for name in kept)


def test_prometheus_saw_the_extraction_run(cluster: WholeCluster, pipeline: Pipeline) -> None:
    """What it has is never more than what is there, and at the end all of it."""
    assert [left for _, left, _ in pipeline.seen if 0 < left < SHARDS], pipeline.seen
    for (videos, left, there), (later, _, _) in zip(pipeline.seen, pipeline.seen[1:], strict=False):
        assert SHARDS - left <= there
        assert videos <= later <= VIDEOS
    assert cluster.asked(f"max_over_time(ray_kinebert_videos_total{{output='{SET}'}}[1h])") == {SET: VIDEOS}
    assert cluster.asked(f"min_over_time(ray_kinebert_shards_left{{output='{SET}'}}[1h])") == {SET: 0}
    assert cluster.asked(f"max_over_time(ray_kinebert_frames_total{{output='{SET}'}}[1h])") == {SET: 40 * VIDEOS}
    assert set(cluster.asked("up").values()) == {1.0}
    steps = cluster.asked("max_over_time(ray_kinebert_steps_total{output=~'.*/runs/.*'}[1h])")
    assert steps.keys() == {"s3://kinebert/runs/bert", "s3://kinebert/runs/tgap"}


@pytest.mark.parametrize("token", [None, "0" * 64])
def test_nobody_without_the_token(cluster: WholeCluster, token: str | None) -> None:
    given = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token} if token else {}
    words = ["--address", cluster.page, "--", "doctor"]
    stranger = Program("submit", words, cluster.folder / f"stranger{bool(token)}", **given)
    assert stranger.wait(120) == 2, stranger.errors()
    assert "token" in stranger.errors().splitlines()[-1]
    assert "Traceback" not in stranger.errors()


def test_passwords_are_nowhere(cluster: WholeCluster, pipeline: Pipeline) -> None:
    """Neither in what is kept, nor in what was printed or logged, nor on a command line."""
    texts = {f"kinebert/{name}": data for name, data in cluster.objects("kinebert").items()}
    texts |= {f"mlflow/{name}": data for name, data in cluster.objects("mlflow", "s3_admin").items()}
    texts |= {f"printed by {name}": text.encode() for name, text in pipeline.printed.items()}
    logs = [*cluster.folder.glob("*/*.log"), *cluster.folder.glob("job*/std*"), *cluster.folder.glob("r/**/logs/**/*")]
    data = [path for path in cluster.folder.glob("postgres/data/**/*") if path.is_file()]
    texts |= {str(path): path.read_bytes() for path in [*logs, *data] if path.is_file()}
    assert len(logs) > 20
    assert len(data) > 100
    for part in cluster.parts:
        texts |= {f"command of {part.name}: {line}": line.encode() for line in part.alive().values()}
    for what, secret in cluster.passwords().items():
        assert [name for name, text in texts.items() if secret in text] == [], what
