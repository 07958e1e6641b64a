"""A student on one and on several workers: the same losses to 1e-6 in float64, running statistics included."""

from pathlib import Path
from typing import Any

import pytest
import torch

from kinebert.training.checkpoints.recognizer import save_recognizer
from kinebert.training.models import build_recognizer
from tests.helpers import several_workers
from tests.helpers.fake_shards import make_shards
from tests.helpers.small_training import weights_of

EXACT: dict[str, Any] = {"amp": "fp64", "batch_size": 8, "micro_batch": 2, "epochs": 2, "save_every_s": 600}
WAYS: dict[str, dict[str, Any]] = {
    "mars, projected": {"distill": {"method": "mars", "projection": True}, "model": {"head": "tgap"}},
    "mers, joint": {"distill": {"method": "mers", "projection": True}, "ema": 0.5},
    "mers, in stages": {
        "distill": {"method": "mers", "projection": True, "mers": "stages", "feature_epochs": 1},
        "optim": {"schedule": "constant"},
    },
    "bert": {"distill": {"method": "bert", "projection": True, "positions": "hidden"}, "mixing": {"mixup": 0.4}},
    "logits": {"distill": {"method": "logits"}, "optim": {"lr_zero": ["backbone.layer1"]}},
    "compiled": {"distill": {"method": "mars", "projection": True}, "compile": True},
}


def compare(num: int, way: str, folder: Path) -> None:
    torch.manual_seed(7)
    teacher = build_recognizer(
        backbone="resnet18", width=0.25, head="bert", num_classes=3, clip_length=4, size=16, dropout=0.5
    )
    save_recognizer(str(folder / "teacher.pt"), teacher.eval(), make_shards(), epoch=1, metrics={})
    changes = {**EXACT, **WAYS[way]}
    changes["distill"] = {**changes["distill"], "teacher": str(folder / "teacher.pt")}
    alone = several_workers.train_one(0, 1, folder / "alone", changes)
    reports = several_workers.start(num, folder / "several", changes)
    assert "refused" not in alone, alone
    for report in reports:
        assert report == reports[0]
    for row, expected in zip(reports[0]["history"], alone["history"], strict=True):
        assert row == pytest.approx(expected, rel=1e-6)
    assert alone["history"][0]["train_loss_distill"] > 0
    expected_weights = weights_of(folder / "alone" / "run")
    for name, value in weights_of(folder / "several" / "run").items():
        torch.testing.assert_close(value, expected_weights[name], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "way", ["mers, joint", *(pytest.param(way, marks=pytest.mark.slow) for way in WAYS if way != "mers, joint")]
)
def test_two_workers_are_one(way: str, tmp_path: Path) -> None:
    compare(2, way, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_four_workers_are_one(way: str, tmp_path: Path) -> None:
    compare(4, way, tmp_path)
