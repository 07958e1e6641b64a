"""Runs as MLflow keeps them: found by id, by name, or all of an experiment."""

import re
import tempfile
from typing import Any, cast

from mlflow.entities import Run as MlflowRun
from mlflow.tracking import MlflowClient

from kinebert.orchestration.comparing.runs import (
    Run,
    evaluation_of,
    fusion_recipe,
    parse_recipe,
)
from kinebert.orchestration.tracking.changed_settings import present
from kinebert.orchestration.tracking.legal_names import legal_name
from kinebert.orchestration.tracking.metric_names import number_of_epoch
from kinebert.orchestration.tracking.store import check_active, connect, explained
from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.storage import join
from kinebert.training.evaluation.evaluate import VideoScores, read_scores
from kinebert.training.run_folder import RECIPE_FILE, SCORES_FILE, STREAMS_FOLDER, EpochRow

_PAGE = 1000
_ID = re.compile("[0-9a-f]{32}")
_TAGS = {"commit": "mlflow.source.git.commit", "program": "mlflow.source.name", "uncommitted changes": "git_changed"}


class Store:
    """An MLflow store whose runs are read for a comparison; nothing of it is changed.

    Args:
        tracking_uri: A SQLite file (``sqlite:///``) that exists, or a server.

    Raises:
        UserError: If it cannot be reached.
    """

    def __init__(self, tracking_uri: str) -> None:
        path = tracking_uri.removeprefix("sqlite:///")
        if path != tracking_uri and not storage.exists(path):
            raise UserError(f"{path}: there is no such MLflow store. Say which with --tracking-uri.")
        self.tracking_uri, self._client = tracking_uri, connect(tracking_uri)

    def find(self, text: str, experiment: str | None) -> Run:
        """Return the run of an id, or of a name that is that of one run.

        Raises:
            UserError: If there is none, or more than one.
        """
        with explained(self.tracking_uri):
            if _ID.fullmatch(text):
                run = self._client.get_run(text)
                check_active(run, self.tracking_uri)
                return self._read(run)
            quoted = text.replace("'", "")
            found = self._search(experiment, f"attributes.run_name = '{quoted}'")
        if len(found) == 1:
            return self._read(found[0])
        if not found:
            raise UserError(f"{text}: neither a folder, nor a {SCORES_FILE}, nor a run in {self.tracking_uri}.")
        ids = ", ".join(f"{run.info.run_id} ({run.info.status.lower()})" for run in found)
        raise UserError(f"{text}: {len(found)} runs in {self.tracking_uri} have this name. Name one by its id: {ids}.")

    def experiment(self, name: str) -> tuple[list[Run], list[str]]:
        """Return the finished runs of an experiment, oldest first, and sentences about those that are left out.

        A run that others are children of (a search) is none to compare.

        Raises:
            UserError: If there is no such experiment, or no finished run in it.
        """
        with explained(self.tracking_uri):
            runs = self._search(name, "")
        parents = {run.data.tags.get("mlflow.parentRunId") for run in runs}
        single = [run for run in runs if run.info.run_id not in parents]
        done = [run for run in single if run.info.status == "FINISHED"]
        if not done:
            raise UserError(f"the experiment {name!r} in {self.tracking_uri} has no finished run.")
        left = [f"{run.info.run_name} ({run.info.status.lower()})" for run in single if run not in done]
        note = f"{len(left)} runs of the experiment are left out: {', '.join(left[:5])}" + ", ..." * (len(left) > 5)
        return [self._read(run) for run in done], [note] if left else []

    def tables(self, run_id: str) -> dict[str, VideoScores]:
        """Return the tables of scores that are kept with an MLflow run, by evaluation such as ``split1-test-multi``."""
        with explained(self.tracking_uri):
            return self._tables(run_id)

    def _search(self, experiment: str | None, query: str) -> list[MlflowRun]:
        if experiment is None:
            ids = [found.experiment_id for found in self._client.search_experiments(max_results=_PAGE)]
        else:
            one = self._client.get_experiment_by_name(experiment)
            if one is None:
                names = ", ".join(sorted(other.name for other in self._client.search_experiments(max_results=_PAGE)))
                raise UserError(f"{self.tracking_uri}: there is no experiment {experiment!r}. There are: {names}.")
            check_active(one, self.tracking_uri)
            ids = [one.experiment_id]
        found, token = [], None
        while True:
            page = self._client.search_runs(ids, query, max_results=_PAGE, order_by=["start_time"], page_token=token)
            found += list(page)
            token = page.token
            if not token:
                return found

    def _read(self, run: MlflowRun) -> Run:
        run_id = run.info.run_id
        with explained(self.tracking_uri):
            tables = self._tables(run_id)
            recipe = self._recipe(run, tables)
            history = _history(self._client, run)
        facts = {name: run.data.tags[tag] for name, tag in _TAGS.items() if tag in run.data.tags}
        where = f"run {run_id} of {self.tracking_uri}"
        return Run(name=run.info.run_name, where=where, recipe=recipe, facts=facts, history=history, tables=tables)

    def _tables(self, run_id: str) -> dict[str, VideoScores]:
        found = {}
        for item in self._client.list_artifacts(run_id):
            if "/" in item.path or item.path in ("", ".", ".."):
                continue  # what lies there has one name: a store that says otherwise leads elsewhere
            path = f"{item.path}/{SCORES_FILE}" if item.is_dir else item.path
            if item.is_dir and not any(inner.path == path for inner in self._client.list_artifacts(run_id, item.path)):
                continue
            if path.endswith(SCORES_FILE):
                with tempfile.TemporaryDirectory(prefix="kinebert-") as folder:
                    scores = read_scores(self._client.download_artifacts(run_id, path, folder))
                found[evaluation_of(scores, path)] = scores
        return found

    def _recipe(self, run: MlflowRun, tables: dict[str, VideoScores]) -> dict[str, Any]:
        for scores in tables.values():
            if "weights" in scores.about:
                return fusion_recipe(scores, lambda name, _: self._recipe_at(run, join(STREAMS_FOLDER, name)))
        return self._recipe_at(run) or present(run.data.params, run.data.tags)

    def _recipe_at(self, run: MlflowRun, folder: str | None = None) -> dict[str, Any]:
        """Read a recipe from the artifacts of a run; empty if there is none in their ``folder``."""
        folder = folder and legal_name(folder)
        path = join(folder, RECIPE_FILE) if folder else RECIPE_FILE
        if not any(item.path == path for item in self._client.list_artifacts(run.info.run_id, folder)):
            return {}
        with tempfile.TemporaryDirectory(prefix="kinebert-") as place:
            local = self._client.download_artifacts(run.info.run_id, path, place)
            return parse_recipe(storage.read_bytes(local), f"{run.info.run_name}/{path}")


def _history(client: MlflowClient, run: MlflowRun) -> list[EpochRow]:
    """Put the numbers of the epochs back together."""
    rows: dict[int, dict[str, Any]] = {}
    names = {metric: name for metric in run.data.metrics if (name := number_of_epoch(metric)) is not None}
    for metric, name in names.items():
        for told in client.get_metric_history(run.info.run_id, metric):
            rows.setdefault(told.step, {"epoch": told.step})[name] = told.value
    return [cast(EpochRow, rows[step]) for step in sorted(rows)]
