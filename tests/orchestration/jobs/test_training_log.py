"""What a training shows and records of its speed and its memory."""

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from kinebert.orchestration.audience import Terminal
from kinebert.orchestration.jobs.training_log import TrainingLog
from kinebert.orchestration.tracking import tracker as tracking
from kinebert.training.loop.events import (
    Ended,
    EpochDone,
    LeftOut,
    Note,
    Restarted,
    StageBegan,
    Started,
    StepDone,
    StoppedEarly,
)
from kinebert.training.loop.forecast import Forecast
from kinebert.training.run_folder import EpochRow
from tests.helpers.listening import Heard, Sums

STEP = StepDone(
    epoch=1,
    step=3,
    num_epochs=2,
    steps_per_epoch=9,
    global_step=3,
    loss=0.5,
    top1=0.25,
    lr=0.1,
    grad_norm=1.0,
    skipped=0.0,
    data_wait=0.07,
    clips_per_s=40.0,
    eta_s=75.0,
)
ROW = EpochRow(epoch=1, train_loss=0.5, train_top1=0.25, val_loss=0.6, val_top1=0.2, clips_per_s=40.0, seconds=75.0)
EPOCH = EpochDone(row=ROW, num_epochs=2, is_best=True, best_epoch=1, best_top1=0.2, data_wait=0.07, gpu_gib=12.34)


class Tracker:
    def __init__(self) -> None:
        self.told: list[tuple[dict[str, float], int]] = []

    def metrics(self, values: dict[str, float], step: int) -> None:
        self.told.append((values, step))

    def flush(self) -> bool:
        return True

    def params(self, *_: object) -> list[str]:
        return []


CPU = "system/cpu_utilization_percentage"


def test_speed_waiting_and_memory_are_shown_and_recorded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinebert.orchestration.progress.LOG_INTERVAL_S", -1.0)
    tracker: Any = Tracker()
    hear = TrainingLog(tracker, Terminal(), -1)
    for event in (STEP, replace(STEP, global_step=4, gpu_gib=12.34, system={CPU: 99.5}), EPOCH):
        hear(event)
    hear(replace(STEP, global_step=3, shape="64x8x158"))
    first, second, epoch, shaped = capsys.readouterr().err.splitlines()
    assert shaped == f"{first}, 64x8x158"
    assert first == "epoch 1/2 step 3/9: 1 min 15 s left, loss 0.500, 40.0 clips/s, 7% waiting for data"
    assert second.endswith("1 min 15 s left, loss 0.500, 40.0 clips/s, 12.3 GiB of GPU memory, 7% waiting for data")
    assert epoch.endswith("top-1 20.0% (best); 40.0 clips/s, 7% waiting for data, 12.3 GiB of GPU memory, 1 min 15 s")
    on_cpu, on_gpu, of_epoch = (values for values, _ in tracker.told)
    assert "step/gpu_gib" not in on_cpu
    assert (on_gpu[CPU], CPU in on_cpu) == (99.5, False)
    assert (on_gpu["step/gpu_gib"], on_gpu["step/data_wait"], on_gpu["step/clips_per_s"]) == (12.34, 0.07, 40.0)
    names = ("gpu_gib", "data_wait", "clips_per_s")
    assert [of_epoch[f"epoch/speed/{name}"] for name in names] == [12.34, 0.07, 40.0]


def test_whoever_watches_from_outside_hears_of_steps_and_restarts() -> None:
    tracker: Any = Tracker()
    sums = Sums("/data/run")
    hear = TrainingLog(tracker, Heard(), -1, sums)
    hear(replace(STEP, steps_left=15.0))
    hear(Restarted(reason="node 3 was lost", left=2, hung=False))
    hear(replace(STEP, steps_left=15.0))  # MLflow hears of it once, but it was done again
    hear(replace(STEP, global_step=4, steps_left=14.0, loss=0.25))
    assert {metric.name.removeprefix("kinebert_"): value for metric, value in sums.values.items()} == {
        "steps": 3,
        "steps_left": 14.0,
        "epoch": 1,
        "clips_per_s": 40.0,
        "data_wait": 0.07,
        "loss": 0.25,
        "restarts": 1,
    }
    assert len(tracker.told) == 2


def test_the_plain_metrics_are_those_of_the_best_epoch_so_far() -> None:
    tracker: Any = Tracker()
    hear = TrainingLog(tracker, Terminal(), -1)
    for epoch, top1, is_best in ((1, 0.2, True), (2, 0.1, False), (3, 0.4, True)):
        hear(replace(EPOCH, row=EpochRow(**{**ROW, "epoch": epoch, "val_top1": top1}), is_best=is_best))
    plain = [(values["val_top1"], step) for values, step in tracker.told if "val_top1" in values]
    assert plain == [(0.2, 1), (0.4, 3)]
    assert [values["epoch/val_top1"] for values, _ in tracker.told] == [0.2, 0.1, 0.4]


def test_how_long_it_will_take_is_said_after_the_first_steps_and_the_first_epoch(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker: Any = Tracker()
    hear = TrainingLog(tracker, Terminal(), -1)
    expected = [
        Forecast(epoch_s=200, left_s=7380, is_measured=False),
        Forecast(epoch_s=75, left_s=75, is_measured=True),
    ]
    monkeypatch.setattr(hear, "_forecaster", lambda event: expected.pop(0) if event in (STEP, EPOCH) else None)
    for event in (STEP, Note(text="careful"), EPOCH):
        hear(event)
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"after the first steps: about 3 min 20 s an epoch with its validation, 2 h 03 min to the end "
        r"\((\w+day, )?\d\d:\d\d\)",
        first,
    )
    assert second.startswith("after the first epoch: about 1 min 15 s an epoch with its validation, 1 min 15 s to the")


def test_until_the_first_step_it_says_what_it_waits_for() -> None:
    heard = Heard()
    tracker: Any = Tracker()
    with TrainingLog(tracker, heard, -1) as hear:
        until = time.monotonic() + 20
        while not heard.shown and time.monotonic() < until:
            time.sleep(0.01)
        assert re.fullmatch(r"waiting for workers: \d+ s", heard.shown[0])
        hear(STEP)
        shown = len(heard.shown)
        time.sleep(0.8)
        assert len(heard.shown) == shown, "and no more after it"


def test_waiting_for_clips_is_told_once_with_what_to_change(capsys: pytest.CaptureFixture[str]) -> None:
    started: dict[str, Any] = {"num_epochs": 4, "steps_per_epoch": 3, "stage": 1, "num_stages": 1, "clip_length": 8}
    started |= {"train_videos": 24, "val_videos": 9, "num_classes": 3, "num_parameters": 1_250_000, "notes": []}
    hungry = replace(EPOCH, data_wait=0.6)
    begun = replace(hungry, row=EpochRow(**{**ROW, "seconds": 5.0}))

    def told(loaders: int, *events: EpochDone) -> list[str]:
        tracker: Any = Tracker()
        hear = TrainingLog(tracker, Terminal(), -1)
        hear(Started(**started, resumed=None, world_size=1, device="cuda", loader_workers=loaders))
        for event in events:
            hear(event)
        return [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]

    (note,) = told(3, EPOCH, hungry, hungry)
    assert note.startswith("note: 60% of the time went by waiting for clips, with loader_workers = 3. `kinebert")
    assert "bench-data RECIPE --clips-per-s 100`" in note  # 40 a second in 40 % of the time
    assert "the workers load clips themselves" in told(0, begun, begun)[0]
    assert told(3, begun) == told(3, EPOCH, replace(EPOCH, data_wait=0.2)) == []  # loaders that start are no hunger


def test_what_was_unusual_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    tracker: Any = Tracker()
    hear = TrainingLog(tracker, Terminal(), -1)
    hear(Note(text="the last saved state is damaged"))
    hear(Restarted(reason="rank 1 no longer answers; stacks of all: s.txt", left=3, hung=True))
    hear(Restarted(reason="worker 0: killed", left=2, hung=False))
    hear(LeftOut(epoch=1, step=2, reason="the loss is nan in the clips of v005"))
    hear(Ended(best_epoch=1))  # of which nothing is said
    assert capsys.readouterr().err.splitlines() == [
        "note: the last saved state is damaged",
        "rank 1 no longer answers; stacks of all: s.txt; going on from the last saved state",
        "a worker was lost (worker 0: killed); going on from the last saved state",
        "epoch 1, step 2 left out: the loss is nan in the clips of v005",
    ]


def test_other_workers_or_devices_than_before_are_recorded_with_their_moment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = tracking.Tracker.start(f"sqlite:///{tmp_path}/mlflow.db", "kinebert", "run", {})
    facts: dict[str, Any] = {"num_epochs": 4, "steps_per_epoch": 3, "stage": 1, "num_stages": 1, "clip_length": 8}
    facts |= {"train_videos": 24, "val_videos": 9, "num_classes": 3, "num_parameters": 1_250_000, "notes": []}
    first = Started(**facts, resumed=None, world_size=1, device="cpu", computed_in="float32")
    hear = TrainingLog(tracker, Terminal(), -1)
    hear(first)
    hear(replace(first, resumed=(1, 0)))
    assert "note" not in capsys.readouterr().out
    hear(replace(first, resumed=(1, 2), world_size=2, device="cuda", computed_in="bfloat16, TF32 in convolutions"))
    said = capsys.readouterr().out
    assert "changed: ran_on: 1 worker on cpu -> 2 workers on cuda" in said
    assert "changed: computed_in: float32 -> bfloat16, TF32 in convolutions" in said
    tags = MlflowClient(tracker.address.tracking_uri).get_run(tracker.address.run_id).data.tags
    assert tags["ran_on"] == "2 workers on cuda"
    assert tags["changed.ran_on"] == "1 worker on cpu -> 2 workers on cuda from epoch 2, step 3"
    MlflowClient(tracker.address.tracking_uri).delete_run(tracker.address.run_id)
    hear(replace(first, resumed=(3, 0)))  # goes on: a store's trouble ends no training
    assert "MLflow did not take the tag ran_on: " in capsys.readouterr().err
    assert not tracker.complete


def test_beginnings_and_ends_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    tracker: Any = Tracker()
    hear = TrainingLog(tracker, Terminal(), -1)
    stage: dict[str, Any] = {
        "num_epochs": 4,
        "steps_per_epoch": 3,
        "world_size": 2,
        "stage": 1,
        "num_stages": 2,
        "clip_length": 8,
    }
    facts: dict[str, Any] = {"train_videos": 24, "val_videos": 9, "num_classes": 3, "num_parameters": 1_250_000}
    hear(Started(**stage, **facts, resumed=None, notes=[]))
    hear(Started(**stage, **facts, resumed=(1, 2), notes=[]))
    hear(StageBegan(**{**stage, "stage": 2, "clip_length": 16}))
    hear(StoppedEarly(epoch=3, best_epoch=1))
    told = "24 training and 9 validation videos, 3 classes, 1.25 M parameters, 3 steps per epoch, 2 workers"
    assert capsys.readouterr().out.splitlines() == [
        told,
        f"{told}, going on at epoch 2, step 3",
        "stage 2 of 2: clips of 16",
        "no epoch since 1 was better: training ends after epoch 3",
    ]


def test_what_a_teacher_adds_to_the_loss_is_shown_and_recorded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinebert.orchestration.progress.LOG_INTERVAL_S", -1.0)
    tracker: Any = Tracker()
    hear = TrainingLog(tracker, Terminal(), -1)
    hear(replace(STEP, loss_labels=0.375, loss_distill=0.125))
    parts = EpochRow(train_loss_labels=0.4, train_loss_distill=0.1)  # type: ignore[typeddict-item]
    hear(replace(EPOCH, row={**ROW, **parts}))
    step, epoch = capsys.readouterr().err.splitlines()
    assert "loss 0.500 (0.125 of it the teacher's), " in step
    assert "train loss 0.500 (0.1 of it the teacher's), top-1 25.0%" in epoch
    (steps, _), (epochs, _) = tracker.told
    assert (steps["step/loss"], steps["step/loss_labels"], steps["step/loss_distill"]) == (0.5, 0.375, 0.125)
    assert (epochs["epoch/train_loss_labels"], epochs["epoch/train_loss_distill"]) == (0.4, 0.1)
    hear(replace(STEP, global_step=4))
    assert "step/loss_distill" not in tracker.told[-1][0]
