"""Ray and MLflow: the packages, and the servers that the environment names."""

import importlib.metadata
import os
from collections.abc import Iterator

from kinebert.orchestration.diagnosis.findings import Finding, note, ok, wrong
from kinebert.preprocessing.errors import UserError
from kinebert.training.data.shared_memory import MORE_SHARED_MEMORY, SHARED_MEMORY, free_bytes

_ADDRESS, _JOBS, _STORE = "RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "MLFLOW_TRACKING_URI"
_TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_READY = "experiments"
"""A table that every store of MLflow has in its database."""


def look_at_ray() -> Iterator[Finding]:
    """Look at Ray, and join the cluster that ``RAY_ADDRESS`` names for a moment; none is started."""
    from kinebert.orchestration import cluster  # before Ray, whose settings it makes

    version, given = importlib.metadata.version("ray"), os.environ.get(_ADDRESS, "local")
    if given == "local":
        yield _private(version, free_bytes(), cluster.STORE_BYTES)
    else:
        yield _joined(version, given)
    if address := os.environ.get(_JOBS):
        yield _job_server(address)


def look_at_mlflow() -> Iterator[Finding]:
    """Look at MLflow, and at the store that ``MLFLOW_TRACKING_URI`` names, without changing it."""
    import mlflow

    given = os.environ.get(_STORE)
    if not given:
        yield ok("MLflow", f"{mlflow.__version__}; without {_STORE} runs go to a SQLite file beside their folder")
        return
    yield ok("MLflow", mlflow.__version__)
    yield store(given)


def store(given: str) -> Finding:
    """Judge a store of MLflow by asking it something; a database that is not there yet is not made."""
    from kinebert.orchestration.tracking.store import choose_store, connect

    subject, uri = "MLflow's store", choose_store(given, os.getcwd())
    if uri.startswith(("http://", "https://")):
        try:
            connect(uri)
        except UserError as error:
            return wrong(subject, str(error))
        return ok(subject, f"{uri} answers")
    return _database(subject, uri)


def _database(subject: str, uri: str) -> Finding:
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.exc import SQLAlchemyError

    file = uri.removeprefix("sqlite:///") if uri.startswith("sqlite:///") else None
    if file is not None and not os.path.exists(file):
        if os.access(_nearest(os.path.dirname(file)), os.W_OK):
            return ok(subject, f"{uri} is not there yet, and will be made")
        return wrong(subject, f"{uri} cannot be made: no right to write to {os.path.dirname(file)}", "Name another.")
    remedy = f"Correct {_STORE}: a server (http://HOST:5000), a SQLite file (sqlite:///PATH), or the URI of a database."
    try:
        engine = create_engine(uri)
        try:
            is_ready = inspect(engine).has_table(_READY)
        finally:
            engine.dispose()
    except (SQLAlchemyError, ImportError, ValueError, OSError) as error:
        return wrong(subject, f"{uri} cannot be opened: {_first_line(error)}", remedy)
    return ok(subject, f"{uri} {'answers' if is_ready else 'is empty, and will be set up'}")


def _private(version: str, free: float, needed: int) -> Finding:
    found = f"{version}; without {_ADDRESS} programs start a private one on this machine"
    if free >= needed:
        return ok("Ray", found)
    return note("Ray", f"{found}, which keeps its objects in /tmp, for want of {SHARED_MEMORY}", MORE_SHARED_MEMORY)


def _joined(version: str, address: str) -> Finding:
    from kinebert.orchestration import cluster

    try:
        with cluster.cluster() as found:
            nodes = cluster.nodes()
    except UserError as error:
        return wrong("Ray", f"{version}; {error}")
    return ok(
        "Ray",
        f"{version}; {_ADDRESS}={address} answers{_with_token()}: {len(nodes)} node{'s' * (len(nodes) != 1)}, "
        f"{found.num_cpus} CPUs, {found.num_gpus} GPUs",
    )


def _job_server(address: str) -> Finding:
    from kinebert.orchestration.jobs import submission

    try:
        submission.Jobs(address)
    except UserError as error:
        return wrong("Ray's jobs", str(error))
    return ok("Ray's jobs", f"{_JOBS}={address} answers{_with_token()}")


def _with_token() -> str:
    """Whether a token was sent; never which."""
    return ", by the token of the environment" if any(name in os.environ for name in _TOKENS) else ", without a token"


def _nearest(folder: str) -> str:
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    return folder


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
