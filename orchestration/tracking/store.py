"""An MLflow store: which one, whether it answers, and what its errors mean in one line."""

import fcntl
import logging
import os
import re
import shlex
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from mlflow.entities import Experiment, Metric, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from kinebert.orchestration.tracking.saved_view import OFFERED, view_tags
from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import ConfigError, UserError

for _name, _level in (("mlflow", logging.WARNING), ("alembic", logging.WARNING), ("mlflow.store.db", logging.CRITICAL)):
    logging.getLogger(_name).setLevel(_level)  # migrations are nobody's news; what a database says, we say in a line

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # its bars run into our lines

_OF_THE_REQUEST = {
    "ALREADY_EXISTS",
    "BAD_REQUEST",
    "CUSTOMER_UNAUTHORIZED",
    "FEATURE_DISABLED",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "NOT_FOUND",
    "NOT_IMPLEMENTED",
    "PERMISSION_DENIED",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
    "UNAUTHENTICATED",
}
"""Error codes of requests that fail however often they are made; all others are of a store that may come back."""
_PAUSE_S = 2.0
_ABOUT_SQLALCHEMY = "(raised as a result of"
"""Begins a first line that tells programmers of SQLAlchemy what to try; what has happened is in the next."""
_REMEDIES = {
    "disk is full": "Make room on its disk.",
    "No space left": "Make room on its disk.",
    "database is locked": "Another program holds it. End that one, or use a server where several write.",
    "readonly database": "Make the file and its folder writable.",
    "no such table": "It is no whole store: was it deleted? Bring it back, or give another one with --tracking-uri.",
}


def choose_store(tracking_uri: str | None, folder: str) -> str:
    """Return the tracking URI to use: the one given, MLFLOW_TRACKING_URI, or a SQLite file beside the run's folder.

    Raises:
        ConfigError: If none is given and ``folder`` is not a local one, where SQLite cannot live.
    """
    chosen = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if chosen:
        if chosen.startswith("sqlite:///"):
            return f"sqlite:///{storage.resolve_uri(chosen.removeprefix('sqlite:///'))}"
        return chosen if "://" in chosen else f"sqlite:///{storage.resolve_uri(chosen)}"
    if not storage.is_local(folder):
        raise ConfigError(f"{folder}: runs kept there need an MLflow server; give it with --tracking-uri.")
    return f"sqlite:///{os.path.join(os.path.dirname(folder), 'mlflow.db')}"


def page_command(tracking_uri: str) -> str:
    """Return the command that opens the MLflow page of a SQLite store, or the address of a server."""
    if tracking_uri.startswith("sqlite:"):
        return f"mlflow ui --backend-store-uri {shlex.quote(tracking_uri)}"
    return tracking_uri


def connect(tracking_uri: str) -> MlflowClient:
    """Open a store; a server that does not answer is found out here, and not after hours.

    Raises:
        UserError: If it cannot be reached, or is none.
    """
    if tracking_uri.startswith("sqlite:///"):
        file = tracking_uri.removeprefix("sqlite:///")
        storage.check_writable(os.path.dirname(file))
        if os.path.exists(file):
            storage.check_regular(file)
    if tracking_uri.startswith(("http://", "https://")):
        try:
            server = re.sub(r"(?<=://)[^/]*@", "", tracking_uri)  # this library takes names and passwords for a host
            urllib.request.urlopen(server.rstrip("/") + "/health", timeout=10).close()
        except urllib.error.HTTPError:
            pass  # somebody answers; whether it is MLflow, the first request will tell
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise UserError(
                f"{tracking_uri}: the tracking server does not answer ({reason}). Start it, correct --tracking-uri, "
                "or leave it out to use a local SQLite file."
            ) from None
    with explained(tracking_uri), _one_at_a_time(tracking_uri):
        try:
            return _opened(tracking_uri)
        except (MlflowException, SQLAlchemyError) as error:
            if "locked" not in str(error):
                raise
            time.sleep(_PAUSE_S)  # whoever holds it may have been at its last words
            return _opened(tracking_uri)


def _opened(tracking_uri: str) -> MlflowClient:
    client = MlflowClient(tracking_uri)
    client.search_experiments(max_results=1)
    return client


def experiment_id(client: MlflowClient, tracking_uri: str, name: str) -> str:
    """Return the id of an experiment, which is made if there is none of that name. It is given a view of its runs.

    Raises:
        UserError: If it was deleted.
    """
    with _one_at_a_time(tracking_uri):
        found = client.get_experiment_by_name(name)
        if found is not None:
            check_active(found, tracking_uri)
            _offer_view(client, found)
            return str(found.experiment_id)
        artifacts = None
        if tracking_uri.startswith("sqlite:///"):  # MLflow's own default is the present folder, wherever that is
            artifacts = Path(tracking_uri.removeprefix("sqlite:///")).with_name("mlartifacts").as_uri()
        training = {"mlflow.experimentKind": "custom_model_development"}  # or the page is one of language models
        return str(client.create_experiment(name, artifact_location=artifacts, tags={**training, **view_tags()}))


def _offer_view(client: MlflowClient, experiment: Experiment) -> None:
    """Give the view to an experiment of an earlier version or of somebody else, where that is allowed."""
    if OFFERED not in experiment.tags:
        with suppress(MlflowException):  # a view is worth no training
            for key, value in view_tags().items():
                client.set_experiment_tag(experiment.experiment_id, key, value)


def check_active(item: Experiment | Run, tracking_uri: str) -> None:
    """Refuse an experiment or run that was deleted, which MLflow keeps until it is purged.

    Raises:
        UserError: It says how to restore it.
    """
    command = f"MLFLOW_TRACKING_URI={shlex.quote(tracking_uri)} mlflow"
    if isinstance(item, Run):
        if item.info.lifecycle_stage != "deleted":
            return
        raise UserError(
            f"{tracking_uri}: the run {item.info.run_name!r} ({item.info.run_id}) was deleted. Restore it: {command} "
            f"runs restore --run-id {item.info.run_id}"
        )
    if item.lifecycle_stage != "deleted":
        return
    raise UserError(
        f"{tracking_uri}: the experiment {item.name!r} was deleted. Give another --experiment, or restore it: "
        f"{command} experiments restore --experiment-id {item.experiment_id}"
    )


def reason_of(error: Exception) -> str:
    """Return what an error says, its first line in at most 200 characters, and what to do about it, if known."""
    lines = [line for line in str(error).splitlines() if not line.startswith(_ABOUT_SQLALCHEMY)]
    reason = next(iter(lines), type(error).__name__)[:200]
    return reason + next((f". {words}" for sign, words in _REMEDIES.items() if sign in reason), "")


def was_refused(error: Exception) -> bool:
    """Whether an error is one of what was asked for, which asking again does not help; else the store is in trouble."""
    return isinstance(error, MlflowException) and error.error_code in _OF_THE_REQUEST


def log_metrics(client: MlflowClient, run_id: str, metrics: Sequence[Metric]) -> dict[str, str]:
    """Send metrics, at most 1000; return the names of those that the store refuses, with its reasons.

    Raises:
        Exception: Whatever MLflow raises where the store is in trouble.
    """
    try:
        client.log_batch(run_id, metrics=list(metrics))
    except Exception as error:
        if not was_refused(error):
            raise
        names = sorted({metric.key for metric in metrics})
        if len(names) == 1:
            return {names[0]: reason_of(error)}
        parts = [log_metrics(client, run_id, [metric for metric in metrics if metric.key == name]) for name in names]
        return {name: reason for part in parts for name, reason in part.items()}
    return {}


@contextmanager
def _one_at_a_time(tracking_uri: str) -> Iterator[None]:
    """Let one process of this machine at a time set up a SQLite store: several at once break its migration."""
    if not tracking_uri.startswith("sqlite:///"):
        yield
        return
    lock = storage.open_regular(tracking_uri.removeprefix("sqlite:///") + ".lock", os.O_CREAT | os.O_RDWR)
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def explained(tracking_uri: str) -> Iterator[None]:
    """Raise what MLflow and its store say as a UserError of one line."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise UserError(f"{tracking_uri}: MLflow says: {reason_of(error)}") from None
