"""The view of an experiment's runs: given once, in the form of MLflow's page, to old experiments as to new ones."""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from kinebert.orchestration.tracking.metric_names import SUMMARY
from kinebert.orchestration.tracking.saved_view import NAME, OFFERED, TAG
from kinebert.orchestration.tracking.tracker import Tracker


def test_an_experiment_has_a_view_of_the_plain_metrics_and_keeps_it_away_where_it_was_deleted(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(store)
    client.create_experiment("old", artifact_location=tmp_path.as_uri())
    for experiment in ("old", "new"):
        Tracker.start(store, experiment, "run", {})
        found = client.get_experiment_by_name(experiment)
        assert found is not None
        view = json.loads(found.tags[TAG])
        assert view["name"] == NAME
        packed = view["state"].removeprefix("deflate;")
        state = json.loads(zlib.decompress(base64.b64decode(packed)))
        assert state["selectedColumns"][: len(SUMMARY)] == [f"metrics.`{name}`" for name in SUMMARY]
        assert [section["name"] for section in state["compareRunSections"] if section["display"]] == [
            "Model metrics",
            "epoch",
        ]
        client.delete_experiment_tag(found.experiment_id, TAG)
        Tracker.start(store, experiment, "run", {})
        after = client.get_experiment(found.experiment_id).tags
        assert TAG not in after
        assert after[OFFERED] == NAME


def test_who_may_not_change_an_experiment_trains_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = f"sqlite:///{tmp_path}/mlflow.db"
    MlflowClient(store).create_experiment("theirs", artifact_location=tmp_path.as_uri())

    def refuse(*_: Any) -> None:
        raise MlflowException("Permission denied", error_code=7)

    monkeypatch.setattr(MlflowClient, "set_experiment_tag", refuse)
    assert Tracker.start(store, "theirs", "run", {}).is_open()
