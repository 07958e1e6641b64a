"""Running statistics: the same on any number of workers, and as they were after a batch that was left out."""

import pytest
import torch
from torch import nn

from kinebert.training.distributed.batch_norms import RunningStatistics


def test_statistics_do_not_depend_on_how_turns_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three workers, played one after the other: what they would sum up is what one worker has."""
    batches = [torch.randn(5, 2, dtype=torch.float64) * (i + 1) for i in range(6)]

    def follow(mine: list[torch.Tensor], rank: int, world_size: int) -> nn.BatchNorm1d:
        norm = nn.BatchNorm1d(2, momentum=0.3, dtype=torch.float64)
        norm.running_mean.fill_(7.0)  # type: ignore[union-attr]
        statistics = RunningStatistics(norm, rank, world_size)
        statistics.begin()
        for batch in mine:
            statistics.before_batch()
            norm(batch)
        statistics.finish()
        return norm

    monkeypatch.setattr("torch.distributed.all_reduce", lambda _: None)
    alone = follow(batches, 0, 1)
    parts = [follow(batches[rank::3], rank, 3) for rank in range(3)]
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(sum(getattr(part, name) for part in parts), getattr(alone, name))
    assert int(parts[0].num_batches_tracked) == int(alone.num_batches_tracked) == 6  # type: ignore[arg-type]


def test_a_step_that_is_undone_leaves_no_trace() -> None:
    norm = nn.BatchNorm1d(2)
    norm(torch.randn(5, 2))
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    statistics = RunningStatistics(norm, 0, 1)
    statistics.begin()
    for batch in (torch.randn(5, 2), torch.full((5, 2), float("nan"))):
        statistics.before_batch()
        norm(batch)
    assert norm.state_dict()["running_mean"].isnan().all()
    statistics.undo()
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_one_worker_has_what_torch_has() -> None:
    ours, torchs = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    statistics = RunningStatistics(ours, 0, 1)
    for _ in range(3):
        statistics.begin()
        for batch in torch.randn(2, 5, 2).unbind():
            statistics.before_batch()
            ours(batch)
            torchs(batch)
        statistics.finish()
    assert all(torch.equal(value, torchs.state_dict()[name]) for name, value in ours.state_dict().items())


def test_frozen_norms_and_those_without_statistics_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the second of two workers, whose own share would begin with 0."""
    monkeypatch.setattr("torch.distributed.all_reduce", lambda _: None)
    model = nn.Sequential(nn.BatchNorm1d(2).eval(), nn.BatchNorm1d(2, track_running_stats=False), nn.Linear(2, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    statistics = RunningStatistics(model, 1, 2)
    statistics.begin()
    statistics.before_batch()
    model(torch.randn(5, 2))
    statistics.finish()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
