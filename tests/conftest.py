"""Fixtures of more than one test module."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kinebert.preprocessing.machine import available_cores
from tests.helpers import requirements
from tests.helpers.mlflow_tables import copy_from_the_first
from tests.helpers.paths import SHARED

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported, here and in what tests start: cores are shared
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
_BYTES_OF_A_PROCESS = 4 * 2**30  # with its cluster, and what trains there


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(word, there, problem): see tests.helpers.requirements.needs")
    requirements.required()  # a word that is unknown is told before anything runs


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files that work on a cluster first: at the end, one process would still be at them, and the others idle."""
    first = {item.path for item in items if "ray_cluster" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path not in first)


@pytest.hookimpl(optionalhook=True)  # known where xdist is
def pytest_xdist_auto_num_workers() -> int | None:
    """One process more than cores, where there is memory for it: tests wait for processes and for time to pass."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    cores, memory = available_cores(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return cores + (memory >= (cores + 1) * _BYTES_OF_A_PROCESS)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getoption("dist") != "loadfile":
        return None
    from tests.helpers.distribution import Together

    config.option.loadscopereorder = False  # the order is ours, not by the number of tests
    return Together(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        word, there, problem = mark.args
        if not there:
            requirements.missing(word, problem)


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Path below the folder of real clips; without it, the test is skipped or fails as is required."""

    def path(relative: str) -> Path:
        found = SHARED / relative
        if not found.exists():
            requirements.missing("clips", f"{found} is not there")
        return found

    return path


@pytest.fixture(autouse=True)
def _no_store_is_left_behind() -> Iterator[None]:
    """Forget the MLflow store that a test chose: MLflow keeps it for the process, and tells its children."""
    yield
    if "mlflow" in sys.modules:
        sys.modules["mlflow"].set_tracking_uri(None)
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    if "mlflow.store.db.utils" in sys.modules:  # not before: most tests need none of it
        copy_from_the_first()


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """One private cluster for the tests of a session, with more logical CPUs than a small machine has cores."""
    from kinebert.orchestration.cluster import cluster

    with cluster(num_cpus=4) as found:
        yield found
