"""Processes on GPUs: over NCCL where each has one of its own, else over gloo on the one that they share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from kinebert.training.loop.loop import WorkerContext
from tests.helpers import several_workers
from tests.helpers.requirements import needs
from tests.helpers.small_training import numbers, recipe_with, run

pytestmark = [
    pytest.mark.gpu,
    needs("gpu", torch.cuda.is_available(), "there is no CUDA device"),
]
NO_DRAWS: dict[str, Any] = {"model": {"head": "tgap", "dropout": 0.0}, "amp": "off", "optim": {"lr": 3e-4}, "epochs": 1}


def alone(output: Path, **changes: Any) -> list[dict[str, Any]]:
    summary, _ = run(recipe_with(**changes), output, worker=WorkerContext(device=torch.device("cuda")))
    return numbers(summary.history)


def together(output: Path, **changes: Any) -> list[dict[str, Any]]:
    first, second = several_workers.start(2, output, changes, device="cuda")
    assert first == second
    history: list[dict[str, Any]] = first["history"]
    return history


def assert_near(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for name in ("train_loss", "val_loss"):
            assert one[name] == pytest.approx(other[name], rel=2e-3), name  # sums in another order


def test_two_workers_train_like_one(tmp_path: Path) -> None:
    assert_near(together(tmp_path / "two", **NO_DRAWS), alone(tmp_path / "one", **NO_DRAWS))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_synchronised_norms_see_both_micro_batches(checkpointing: bool, tmp_path: Path) -> None:
    model = {**NO_DRAWS["model"], "checkpointing": checkpointing}
    found = together(tmp_path / "two", **{**NO_DRAWS, "model": model, "sync_norm": True})
    assert_near(found, alone(tmp_path / "one", **{**NO_DRAWS, "micro_batch": 8}))


@pytest.fixture
def nccl(tmp_path: Path) -> Iterator[None]:
    """A group of this process alone: NCCL takes a GPU for one process only."""
    torch.cuda.set_device(0)
    dist.init_process_group("nccl", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_nccl_itself(nccl: None) -> None:
    numbers_N = torch.arange(5, dtype=torch.float64, device="cuda")
    dist.all_reduce(numbers_N)
    assert numbers_N.tolist() == [0, 1, 2, 3, 4]
    values: list[Any] = [None]
    dist.all_gather_object(values, {"rank": 0})
    assert values == [{"rank": 0}]
    torch.manual_seed(0)
    net = nn.Linear(4, 3).cuda()
    wrapped = DistributedDataParallel(net, device_ids=[0])
    x_NF = torch.randn(6, 4, device="cuda")
    wrapped(x_NF).square().sum().backward()
    found = net.weight.grad
    net.weight.grad = None
    net(x_NF).square().sum().backward()
    torch.testing.assert_close(found, net.weight.grad)
