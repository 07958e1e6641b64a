"""A compiled network: as many graphs as phases, and checkpointing that the compiler does.

The backend is torch's ``aot_eager``: its graphs, split into forward and backward as for a GPU, computed by the plain
operators. So numbers are the plain network's but for the order of sums.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from kinebert.training import numerics
from kinebert.training.data.batches import Batch
from kinebert.training.data.transforms import to_device_batch
from kinebert.training.distributed.worker import WorkerContext
from kinebert.training.evaluation.scorer import score_clips
from kinebert.training.loop.learner import Learner
from kinebert.training.models import HEADS, InputSpec, Recognizer
from kinebert.training.models.interfaces import Backbone
from kinebert.training.recipe.train import TrainRecipe
from tests.helpers.small_training import numbers, recipe_with, run

CPU = torch.device("cpu")
REL = 1e-5
"""Of losses after some steps in float32: the backward graph adds up in another order."""


class Trunk(Backbone):
    """Three stages of two convolutions, batch norms, and dropout, which must be the same in both computations."""

    num_features, temporal_stride = 8, 1

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Sequential(nn.Conv3d(8, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU()) for _ in range(6)]
        self.stem = nn.Conv3d(3, 8, 1)
        self.stages = nn.ModuleList(nn.Sequential(*layers[i : i + 2], nn.Dropout(0.5)) for i in range(0, 6, 2))

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        x_NCTHW = self.stem(x_NCTHW)
        for stage in self.stages:
            x_NCTHW = self.run(stage, x_NCTHW)
        return x_NCTHW


def learner_of(recipe: TrainRecipe) -> Learner:
    torch.manual_seed(0)
    trunk = Trunk()
    trunk.checkpointing = recipe.model.checkpointing
    spec = InputSpec(modality="rgb", num_frames=4, crop_size=16, mean=(0.5,) * 3, std=(0.25,) * 3)
    net = Recognizer(trunk, HEADS["tgap"](8, 4), 3, 0.0, spec, {"num_classes": 3})
    return Learner(recipe, net, WorkerContext(), [f"v{i}" for i in range(8)])


def batches(sizes: list[int]) -> Iterator[Batch]:
    generator = torch.Generator().manual_seed(1)
    for size in sizes:
        clips = torch.randint(0, 256, (size, 4, 16, 16, 3), dtype=torch.uint8, generator=generator)
        yield Batch(clips, torch.arange(size) % 3, torch.arange(size))


def trained(recipe: TrainRecipe) -> tuple[list[float], Learner]:
    """Losses of three steps."""
    learner = learner_of(recipe)
    learner.start_epoch()
    feed = batches([4] * 6)
    with numerics.computing(recipe, CPU):
        return [learner.step(feed, 0, step, 0.01).loss for step in range(3)], learner


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Any:
    counter = CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(numerics, "COMPILER", counter)
    return counter


def test_compiled_and_checkpointed_it_learns_the_same(graphs: Any) -> None:
    expected, plain = trained(recipe_with())
    found, learner = trained(recipe_with(compile=True, model={"checkpointing": True}))
    assert graphs.frame_count == 1
    assert found == pytest.approx(expected, rel=REL)
    for name, buffer in plain.model.named_buffers():
        torch.testing.assert_close(learner.model.get_buffer(name), buffer, rtol=1e-4, atol=1e-6)
    counts = [value for name, value in learner.model.named_buffers() if name.endswith("num_batches_tracked")]
    assert {int(count) for count in counts} == {6}


def test_checkpointing_keeps_less_compiled_as_well(graphs: Any) -> None:
    def kept_bytes(checkpointing: bool) -> int:
        recipe = recipe_with(compile=True, model={"checkpointing": checkpointing})
        learner = learner_of(recipe)
        seen: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        learner.start_epoch()
        with numerics.computing(recipe, CPU), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            learner.model(torch.randn(4, 3, 4, 16, 16))
        return sum(seen.values())

    assert kept_bytes(True) < 0.5 * kept_bytes(False)


@pytest.mark.parametrize("ema", [0.0, pytest.param(0.9, marks=pytest.mark.slow)])
def test_every_phase_is_one_graph_also_where_the_last_batch_is_short(graphs: Any, ema: float) -> None:
    recipe = recipe_with(compile=True, eval_batch=3, ema=ema)
    losses, learner = trained(recipe)
    assert graphs.frame_count == 1
    loader: Any = list(batches([3, 3, 1]))
    judged = learner.judged.eval()
    with torch.inference_mode():
        plain = [judged.forward(to_device_batch(batch.clips, judged.spec, CPU)) for batch in loader]
    found = [logits_NK for logits_NK, _ in score_clips(judged, loader, CPU, torch.no_grad, pad_to=3)]
    assert [len(logits_NK) for logits_NK in found] == [3, 3, 1]
    for ours, theirs in zip(found, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert graphs.frame_count == 2
    learner.start_epoch()
    learner.step(batches([4, 4]), 0, 3, 0.01)
    assert graphs.frame_count == 2, "the next epoch needs no other"
    assert np.isfinite(losses).all()


@pytest.mark.slow
@pytest.mark.parametrize("model", [{"checkpointing": True}, {"checkpointing": True, "backbone": "r2plus1d_18"}])
def test_a_whole_training_of_both(graphs: Any, tmp_path: Path, model: dict[str, Any]) -> None:
    shared: dict[str, Any] = {"epochs": 2, "eval_batch": 5, "ema": 0.5}
    plain, _ = run(recipe_with(model={**model, "dropout": 0.0, "head": "tgap"}, **shared), tmp_path / "plain")
    both, _ = run(
        recipe_with(model={**model, "dropout": 0.0, "head": "tgap"}, compile=True, **shared), tmp_path / "both"
    )
    assert graphs.frame_count == 2
    for ours, theirs in zip(numbers(both.history), numbers(plain.history), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)
