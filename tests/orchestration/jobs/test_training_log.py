"""What a training shows and records of its speed and its memory."""

from typing import Any

import pytest

from kinebert.orchestration.audience import Terminal
from kinebert.orchestration.jobs.training_log import TrainingLog

STEP: dict[str, Any] = {
    **{"event": "step", "epoch": 1, "step": 3, "num_epochs": 2, "steps_per_epoch": 9, "global_step": 3},
    **{"loss": 0.5, "top1": 0.25, "lr": 0.1, "grad_norm": 1.0, "skipped": 0.0, "data_wait": 0.07, "clips_per_s": 40.0},
    "eta_s": 75.0,
}
EPOCH: dict[str, Any] = {
    **{"event": "epoch", "epoch": 1, "num_epochs": 2, "train_loss": 0.5, "train_top1": 0.25, "val_loss": 0.6},
    **{"val_top1": 0.2, "is_best": True, "clips_per_s": 40.0, "data_wait": 0.07, "seconds": 75.0, "gpu_gib": 12.34},
}


class Tracker:
    def __init__(self) -> None:
        self.told: list[tuple[dict[str, float], int]] = []

    def metrics(self, values: dict[str, float], step: int) -> None:
        self.told.append((values, step))

    def flush(self) -> bool:
        return True


CPU = "system/cpu_utilization_percentage"


def test_speed_waiting_and_memory_are_shown_and_recorded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinebert.orchestration.progress.LOG_INTERVAL_S", -1.0)
    tracker: Any = Tracker()
    hear = TrainingLog(tracker, Terminal(), -1)
    for event in (STEP, {**STEP, "global_step": 4, "gpu_gib": 12.34, CPU: 99.5}, EPOCH):
        hear(event)
    first, second, epoch = capsys.readouterr().err.splitlines()
    assert first == "epoch 1/2 step 3/9: loss 0.500, 40.0 clips/s, 7% waiting for data, 1 min 15 s left"
    assert second.endswith("7% waiting for data, 12.3 GiB of GPU memory, 1 min 15 s left")
    assert epoch.endswith("top-1 20.0% (best); 40.0 clips/s, 7% waiting for data, 12.3 GiB of GPU memory, 1 min 15 s")
    on_cpu, on_gpu, of_epoch = (values for values, _ in tracker.told)
    assert "step/gpu_gib" not in on_cpu
    assert (on_gpu[CPU], CPU in on_cpu) == (99.5, False)
    assert (on_gpu["step/gpu_gib"], on_gpu["step/data_wait"], on_gpu["step/clips_per_s"]) == (12.34, 0.07, 40.0)
    names = ("gpu_gib", "data_wait", "clips_per_s")
    assert [of_epoch[f"epoch/{name}"] for name in names] == [12.34, 0.07, 40.0]


def test_what_was_unusual_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    tracker: Any = Tracker()
    hear = TrainingLog(tracker, Terminal(), -1)
    hear({"event": "note", "text": "the last saved state is damaged"})
    hear({"event": "restart", "reason": "rank 1 no longer answers; stacks of all: s.txt", "hung": True})
    hear({"event": "restart", "reason": "worker 0: killed", "hung": False})
    assert capsys.readouterr().err.splitlines() == [
        "note: the last saved state is damaged",
        "rank 1 no longer answers; stacks of all: s.txt; going on from the last saved state",
        "a worker was lost (worker 0: killed); going on from the last saved state",
    ]
