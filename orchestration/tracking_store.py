"""An MLflow store: which one, whether it answers, and what its errors mean in one line."""

import fcntl
import logging
import os
import shlex
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import ConfigError, UserError

for _name in ("mlflow", "alembic"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # migrations of a fresh store are nobody's news


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
            urllib.request.urlopen(tracking_uri.rstrip("/") + "/health", timeout=10).close()
        except urllib.error.HTTPError:
            pass  # somebody answers; whether it is MLflow, the first request will tell
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise UserError(
                f"{tracking_uri}: the tracking server does not answer ({reason}). Start it, correct --tracking-uri, "
                "or leave it out to use a local SQLite file."
            ) from None
    with explained(tracking_uri), _one_at_a_time(tracking_uri):
        client = MlflowClient(tracking_uri)
        client.search_experiments(max_results=1)
        return client


def experiment_id(client: MlflowClient, tracking_uri: str, name: str) -> str:
    """Return the id of an experiment, which is made if there is none of that name."""
    with _one_at_a_time(tracking_uri):
        found = client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        artifacts = None
        if tracking_uri.startswith("sqlite:///"):  # MLflow's own default is the present folder, wherever that is
            artifacts = Path(tracking_uri.removeprefix("sqlite:///")).with_name("mlartifacts").as_uri()
        training = {"mlflow.experimentKind": "custom_model_development"}  # or the page is one of language models
        return str(client.create_experiment(name, artifact_location=artifacts, tags=training))


def reason_of(error: Exception) -> str:
    """Return the first line of what an error says, in at most 200 characters."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


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
        reason = str(error).splitlines()[0][:300]
        raise UserError(f"{tracking_uri}: MLflow says: {reason}") from None
