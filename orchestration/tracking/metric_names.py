"""Names of metrics in MLflow: a few plain ones for the list of runs, and groups for all others.

MLflow's list offers metrics in the order of the alphabet and draws a section for each group, by its name; what has no
group comes after the groups. ``epoch/`` holds accuracies and losses alone, so that they are the first charts.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kinebert.training.run_folder import EpochRow

if TYPE_CHECKING:
    from kinebert.training.evaluation.metrics import Metrics

TOP1, TOP5, MEAN_CLASS, VAL_TOP1, VAL_LOSS = SUMMARY = ("top1", "top5", "mean_class", "val_top1", "val_loss")
"""What every list of runs should show: of a test, and of the epoch whose weights are kept."""
LAST_STEP, LAST_EPOCH = "step/loss", "epoch/val_loss"
"""Metrics whose last step says how far a run is known."""
TEST_STEP = 0
"""Step of the plain metrics of a test: the last one that was told is then the present one."""
_EPOCH = "epoch/"
_GROUPS = {"train_": "", "val_": "", "lr": "optim/", "skipped": "optim/", "seconds": "speed/", "clips_per_s": "speed/"}
_GROUPS |= {"data_wait": "speed/", "gpu_gib": "speed/"}


def step_metrics(numbers: Mapping[str, float | None]) -> dict[str, float]:
    """Return the known numbers of an update under their names in MLflow, such as ``step/loss``."""
    return {f"step/{name}": value for name, value in numbers.items() if value is not None}


def epoch_metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of an epoch under their names in MLflow: ``epoch/val_top1``, ``epoch/optim/lr``."""
    groups = {key: group for key in row for begins, group in _GROUPS.items() if key.startswith(begins)}
    return {f"{_EPOCH}{group}{key}": row[key] for key, group in groups.items()}


def number_of_epoch(metric: str) -> str | None:
    """Return which number of an epoch a metric of MLflow is, such as ``lr``; None if it is of no epoch.

    Earlier versions had all of them in one group, as ``epoch/lr``.
    """
    name = metric.rpartition("/")[2]
    known = metric.startswith(_EPOCH) and any(name.startswith(begins) for begins in _GROUPS)
    return name if known else None


def summary_of_validation(row: EpochRow) -> dict[str, float]:
    """Return the plain metrics of a training: those of the epoch whose weights are kept."""
    known: Mapping[str, Any] = row
    return {name: float(known[name]) for name in (VAL_TOP1, VAL_LOSS) if known.get(name) is not None}


def summary_of_test(metrics: "Metrics") -> dict[str, float]:
    """Return the plain metrics of a test. A top-5 accuracy of five classes or fewer says nothing and is left out."""
    known = {TOP1: metrics.top[1], TOP5: metrics.top[5], MEAN_CLASS: metrics.mean_class}
    return {name: value for name, value in known.items() if name != TOP5 or len(metrics.per_class) > 5}


def of_evaluation(name: str, numbers: Mapping[str, float]) -> dict[str, float]:
    """Return all numbers of an evaluation, such as ``split1-test-multi/top1``."""
    return {f"{name}/{key}": value for key, value in numbers.items()}


def of_stream(name: str, numbers: Mapping[str, float]) -> dict[str, float]:
    """Return the numbers of a stream of a fusion, or of some: ``streams/rgb/top1``, ``streams/rgb and flow/top1``."""
    plain = name.replace(" + ", " and ")  # MLflow takes no + in a name
    return {f"streams/{plain}/{key}": value for key, value in numbers.items()}


def of_value(key: str) -> str:
    """Return the name of a searched value that changes while its trial is trained: ``epoch/value/optim.lr``."""
    return f"epoch/value/{key}"


def of_search(numbers: Mapping[str, float]) -> dict[str, float]:
    """Return what a search says of itself or of a trial, such as ``search/best_val_loss``."""
    return {f"search/{key}": value for key, value in numbers.items()}
