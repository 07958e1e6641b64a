"""Runs of trials that a killed driver has left open in MLflow."""

from collections.abc import Sequence

from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.orchestration.tracking.store import connect, explained

_PAGE = 1000


def end_strays(parent: RunAddress, known: Sequence[str]) -> None:
    """Close, as KILLED, the open children of a run whose ids are not ``known``: their maker was killed right after."""
    client = connect(parent.tracking_uri)
    with explained(parent.tracking_uri):
        experiment = client.get_run(parent.run_id).info.experiment_id
        query = f"tags.`mlflow.parentRunId` = '{parent.run_id}' and attributes.status = 'RUNNING'"
        for run in client.search_runs([experiment], query, max_results=_PAGE):
            if run.info.run_id not in known:
                client.set_terminated(run.info.run_id, "KILLED")
