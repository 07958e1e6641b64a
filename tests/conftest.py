"""Fixtures of more than one test module."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.paths import SHARED

os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Path below the folder of real clips and golden files; skips the test where there is none."""

    def path(relative: str) -> Path:
        found = SHARED / relative
        if not found.exists():
            pytest.skip(f"{found} is not there")
        return found

    return path


@pytest.fixture(autouse=True)
def _no_store_is_left_behind() -> Iterator[None]:
    """Forget the MLflow store that a test chose: MLflow keeps it for the process, and tells its children."""
    yield
    if "mlflow" in sys.modules:
        sys.modules["mlflow"].set_tracking_uri(None)
        os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """One private cluster for the tests of a session, with more logical CPUs than a small machine has cores."""
    from kinebert.orchestration.cluster import cluster

    with cluster(num_cpus=4) as found:
        yield found
