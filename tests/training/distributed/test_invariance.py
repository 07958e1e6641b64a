"""The same global batch on one and on several workers: the same losses to 1e-6 in float64, and the same refusals."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers import several_workers
from tests.helpers.small_training import weights_of

EXACT: dict[str, Any] = {"amp": "fp64", "batch_size": 8, "micro_batch": 2, "epochs": 2, "save_every_s": 600}
OPTIONS: dict[str, dict[str, Any]] = {
    "as published": {},
    "with options": {
        "optim": {"name": "swats", "switch_tolerance": 1.0, "frozen": ["backbone.layer1"], "decay_norms": False},
        "ema": 0.5,
        "mixing": {"mixup": 0.4, "cutmix": 1.0},
        "label_smoothing": 0.1,
    },
    "multigrid": {
        "model": {"head": "tgap"},
        "optim": {"schedule": "cosine"},
        "epochs": 6,
        "multigrid": {"short_cycle": True, "long_cycle": True, "micro_batch": "grows"},
    },
    "compiled": {"compile": True, "model": {"checkpointing": True}},
}


def compare(num: int, option: str, folder: Path) -> None:
    changes = {**EXACT, **OPTIONS[option]}
    alone = several_workers.train_one(0, 1, folder / "alone", changes)
    reports = several_workers.start(num, folder / "several", changes)
    for report in reports:
        assert report == reports[0]
    for row, expected in zip(reports[0]["history"], alone["history"], strict=True):
        assert row == pytest.approx(expected, rel=1e-6)
    expected_weights = weights_of(folder / "alone" / "run")
    for name, value in weights_of(folder / "several" / "run").items():  # running statistics of batch norms included
        torch.testing.assert_close(value, expected_weights[name], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "option",
    [
        "with options",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("as published", "multigrid", "compiled")),
    ],
)
def test_two_workers_are_one(option: str, tmp_path: Path) -> None:
    compare(2, option, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
def test_four_workers_are_one(option: str, tmp_path: Path) -> None:
    compare(4, option, tmp_path)


def test_a_batch_that_breaks_one_worker_stops_all(tmp_path: Path) -> None:
    refused = [report["refused"] for report in several_workers.start(2, tmp_path / "two", EXACT, "v005")]
    assert refused[0] == refused[1]
    assert refused[0] == several_workers.train_one(0, 1, tmp_path / "one", EXACT, "v005")["refused"]
    assert "in the clips of" in refused[0]
    assert "v005" in refused[0]


@pytest.mark.slow
def test_all_workers_skip_what_breaks_one(tmp_path: Path) -> None:
    changes = {**EXACT, "non_finite": "skip"}
    alone = several_workers.train_one(0, 1, tmp_path / "alone", changes, "v005")
    reports = several_workers.start(2, tmp_path / "two", changes, "v005")
    assert len(alone["left_out"]) == 2
    for report in reports:
        assert report["left_out"] == alone["left_out"]
        for row, expected in zip(report["history"], alone["history"], strict=True):
            assert row == pytest.approx(expected, rel=1e-6)
