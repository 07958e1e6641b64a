"""Names of metrics in MLflow: what lists show is plain, and the first charts are accuracies and losses."""

from typing import Any

import numpy as np

from kinebert.orchestration.tracking.metric_names import (
    SUMMARY,
    epoch_metrics,
    number_of_epoch,
    of_evaluation,
    of_search,
    of_stream,
    of_value,
    step_metrics,
    summary_of_test,
    summary_of_validation,
)
from kinebert.training.evaluation.metrics import measure
from kinebert.training.run_folder import EpochRow

ROW: dict[str, Any] = {"epoch": 3, "train_loss": 1.5, "train_top1": 0.25, "val_loss": 1.25, "val_top1": 0.5}
ROW |= {"val_mean_class": 0.5, "lr": 0.01, "lr_head": 0.1, "clips_per_s": 40.0, "data_wait": 0.1, "gpu_gib": 3.0}
ROW |= {"seconds": 9.0, "skipped": 0, "generation": 2, "order": 7}


def test_numbers_of_an_epoch_are_in_the_groups_of_its_page_and_its_number_in_none() -> None:
    assert epoch_metrics(ROW) == {
        "epoch/train_loss": 1.5,
        "epoch/train_top1": 0.25,
        "epoch/val_loss": 1.25,
        "epoch/val_top1": 0.5,
        "epoch/val_mean_class": 0.5,
        "epoch/optim/lr": 0.01,
        "epoch/optim/lr_head": 0.1,
        "epoch/optim/skipped": 0,
        "epoch/speed/clips_per_s": 40.0,
        "epoch/speed/data_wait": 0.1,
        "epoch/speed/gpu_gib": 3.0,
        "epoch/speed/seconds": 9.0,
    }


def test_the_first_group_of_a_page_holds_accuracies_and_losses_alone() -> None:
    """As MLflow sorts them: groups by name, and what has none behind them."""
    names = [*epoch_metrics(ROW), *step_metrics({"loss": 1.0, "lr": 0.1}), "system/cpu_utilization_percentage"]
    names += [*of_evaluation("split1-test-multi", {"top1": 1.0}), *of_stream("rgb + flow", {"top1": 1.0})]
    names += [*of_search({"kept_epoch": 3.0}), of_value("optim.lr"), *SUMMARY]
    groups = sorted({name.rpartition("/")[0] for name in names} - {""})
    first = {name.rpartition("/")[2] for name in names if name.rpartition("/")[0] == groups[0]}
    assert first == {"train_loss", "train_top1", "val_loss", "val_top1", "val_mean_class"}


def test_an_epoch_is_read_back_under_the_names_of_all_versions() -> None:
    numbers = {key: value for key, value in ROW.items() if key not in ("epoch", "generation", "order")}
    now = {number_of_epoch(name): value for name, value in epoch_metrics(ROW).items()}
    before = {number_of_epoch(f"epoch/{key}"): value for key, value in numbers.items()}
    assert now == before == numbers
    others = ("step/loss", "val_loss", "split1-test-multi/top1", of_value("optim.lr"), "epoch/momentum_product")
    assert [number_of_epoch(name) for name in others] == [None] * len(others)


def test_plain_metrics_are_the_same_few_for_every_test() -> None:
    many, few = (measure(np.eye(classes), np.arange(classes)) for classes in (6, 5))
    assert summary_of_test(many) == {"top1": 1.0, "top5": 1.0, "mean_class": 1.0}
    assert summary_of_test(few) == {"top1": 1.0, "mean_class": 1.0}  # of five classes it is always 1
    row = EpochRow(epoch=1, val_top1=0.5, val_loss=1.25, lr=0.1)
    assert summary_of_validation(row) == {"val_top1": 0.5, "val_loss": 1.25}
    assert summary_of_validation(EpochRow(epoch=1)) == {}
    assert {*summary_of_test(many), *summary_of_validation(row)} == set(SUMMARY)


def test_a_number_that_is_not_known_is_not_told() -> None:
    assert step_metrics({"loss": 1.0, "gpu_gib": None}) == {"step/loss": 1.0}
