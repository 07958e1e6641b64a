"""Running statistics: the same on any number of workers, and as they were after a batch that was left out."""

import pytest
import torch
from torch import nn

from kinebert.training.distributed.batch_norms import RunningStatistics
from kinebert.training.models import build_recognizer
from kinebert.training.optim.ema import WeightAverage
from tests.helpers.operators import CountedOperators


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


@pytest.mark.parametrize("outcome", ["undo", "finish"])
def test_synchronised_norms_move_by_themselves_and_are_undone_with_the_others(outcome: str) -> None:
    """torch's class moves them in every forward pass, counters too, equally on all workers."""
    norms = nn.Sequential(nn.SyncBatchNorm(2), nn.BatchNorm1d(2))
    norms(torch.randn(5, 2))
    before = {name: value.clone() for name, value in norms.state_dict().items()}
    statistics = RunningStatistics(norms, 0, 1)
    statistics.begin()
    for batch in torch.randn(3, 5, 2):
        statistics.before_batch()
        norms(batch)
    getattr(statistics, outcome)()
    after = norms.state_dict()
    if outcome == "undo":
        assert all(torch.equal(value, before[name]) for name, value in after.items())
    else:
        assert [int(after[f"{i}.num_batches_tracked"]) for i in (0, 1)] == [4, 4]


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


def test_a_step_that_breaks_off_leaves_norms_with_their_counters() -> None:
    norm = nn.BatchNorm1d(2)
    norm(torch.randn(5, 2))
    statistics = RunningStatistics(norm, 0, 1)
    statistics.begin()
    statistics.before_batch()
    norm(torch.randn(5, 2))
    statistics.give_back_counts()
    assert norm.state_dict()["num_batches_tracked"] == 1


def test_norms_of_several_types_and_momenta_are_followed_each_by_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two workers, by hand: from 0, decayed for the other's turn and moved in its own."""
    monkeypatch.setattr("torch.distributed.all_reduce", lambda _: None)
    norms = [nn.BatchNorm1d(2, momentum=0.5), nn.BatchNorm1d(2, momentum=0.25, dtype=torch.float64)]
    statistics = RunningStatistics(nn.ModuleList(norms[:1]), 1, 2), RunningStatistics(nn.ModuleList(norms[1:]), 1, 2)
    x_N2 = torch.randn(6, 2)
    for norm, kept in zip(norms, statistics, strict=True):
        kept.begin()
        kept.before_batch()
        norm(x_N2.to(norm.weight.dtype))
        kept.finish()
        expected = norm.momentum * x_N2.to(norm.weight.dtype).mean(dim=0)  # type: ignore[operator]
        torch.testing.assert_close(norm.running_mean, expected)
        assert norm.num_batches_tracked == 2


@pytest.mark.parametrize("outcome", ["finish", "undo"])
@pytest.mark.parametrize(("rank", "world_size"), [(0, 1), (1, 2)])
def test_a_step_costs_few_operators_however_many_norms(
    outcome: str, rank: int, world_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.distributed.all_reduce", lambda _: None)
    model = build_recognizer(backbone="resnext101", head="tgap", width=0.125, num_classes=3, clip_length=16, size=32)
    assert sum(isinstance(module, nn.BatchNorm3d) for module in model.modules()) > 100
    statistics = RunningStatistics(model, rank, world_size)
    with CountedOperators() as counted:
        statistics.begin()
        for _ in range(2):
            statistics.before_batch()
        getattr(statistics, outcome)()
    assert 0 < counted.total < 10, counted.calls


def test_torch_does_not_count_batches_one_norm_at_a_time() -> None:
    norms = nn.Sequential(*(nn.BatchNorm1d(2) for _ in range(7)))
    statistics = RunningStatistics(norms, 0, 1)
    statistics.begin()
    statistics.before_batch()
    with CountedOperators() as counted:
        norms(torch.randn(4, 2))
    assert not any(name.startswith("add") for name in counted.calls), counted.calls
    statistics.finish()
    assert [int(norm.num_batches_tracked) for norm in norms] == [1] * 7  # type: ignore[arg-type]


def test_statistics_and_average_of_a_large_network_are_few_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    """ResNeXt-101, as wide as published, on the second of two workers: 1,470 for its statistics, norm by norm."""
    monkeypatch.setattr("torch.distributed.all_reduce", lambda _: None)
    with torch.device("meta"):
        model = build_recognizer(backbone="resnext101", head="tgap", num_classes=101, clip_length=64)
    statistics, average = RunningStatistics(model, 1, 2), WeightAverage(model, 0.99)
    average.update(model)
    with CountedOperators() as counted:
        statistics.begin()
        for _ in range(2):
            statistics.before_batch()
        statistics.finish()
        average.update(model)
    assert counted.total < counted.launches < 40, counted.calls
