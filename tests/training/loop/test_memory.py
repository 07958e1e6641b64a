"""Memory of a training, reckoned without allocating it, beside what is there when it is allocated."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from kinebert.training.loop.memory import kept_bytes, kept_per_parameter, training_memory
from kinebert.training.models import build_recognizer
from kinebert.training.models.sizes.unallocated import build_unallocated
from kinebert.training.optim.registry import build_optimizer
from kinebert.training.recipe.optim import OptimRecipe, StageRecipe
from kinebert.training.recipe.train import DataRecipe, ModelRecipe, TrainRecipe

CPU = torch.device("cpu")
RECIPE = TrainRecipe(
    data=DataRecipe(shards="s", clip_length=4, crop_size=32),
    model=ModelRecipe(backbone="resnet18", head="bert", width=0.125),
    batch_size=4,
    micro_batch=2,
)


def reckoned(recipe: TrainRecipe, device: torch.device = CPU, modality: str = "rgb"):
    return training_memory(recipe, modality, 3, device)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(
    ("backbone", "head", "frames"), [("resnet18", "bert", 4), ("i3d", "tgap", 16), ("slowfast_50", "bert_early", 32)]
)
def test_shapes_alone_keep_what_numbers_keep(backbone: str, head: str, frames: int, checkpointing: bool) -> None:
    given: dict[str, Any] = {
        "backbone": backbone,
        "head": head,
        "num_classes": 3,
        "width": 0.125,
        "clip_length": frames,
        "size": 64,
    }
    clips = torch.randn(2, 3, frames, 64, 64)
    nets = [build(**given, checkpointing=checkpointing).train() for build in (build_recognizer, build_unallocated)]
    real, meta = (kept_bytes(net, x) for net, x in zip(nets, (clips, clips.to("meta")), strict=True))
    assert real == meta > clips.nbytes
    assert nets[0].backbone.checkpointing is checkpointing
    if checkpointing:
        plain = kept_bytes(build_unallocated(**given).train(), clips.to("meta"))
        assert meta < 0.8 * plain


def test_what_is_kept_can_be_counted_by_hand() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Module()
            self.backbone.checkpointing = False  # type: ignore[assignment]
            self.linear = nn.Linear(5, 7)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x).relu()

    # the input of the layer, and the output of the ReLU: 3 x 5 and 3 x 7 numbers
    assert kept_bytes(Net(), torch.ones(3, 5)) == 4 * (15 + 21)  # type: ignore[arg-type]
    assert kept_bytes(Net(), torch.ones(3, 5), per_number=2) == 2 * (15 + 21)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "kept"), [("adamw", 2), ("adam", 2), ("sgd", 1), ("swats", 2)])
def test_an_optimizer_keeps_so_much(name: str, kept: int) -> None:
    assert kept_per_parameter(OptimRecipe(name=name)) == kept


def test_weights_gradients_and_state_are_what_a_training_holds() -> None:
    net = build_recognizer(
        **RECIPE.model.arguments(), modality="rgb", num_classes=3, clip_length=4, size=32, frame_interval=1
    )
    net(torch.randn(2, 3, 4, 32, 32)).sum().backward()
    optimizer = build_optimizer(net.parameters(), RECIPE.optim)
    optimizer.step()
    found = reckoned(RECIPE)
    assert found.weights == sum(4 * value.numel() for value in net.state_dict().values())
    assert found.gradients == sum(value.grad.nbytes for value in net.parameters() if value.grad is not None)
    state = [value for kept in optimizer.state.values() for value in kept.values() if value.ndim]
    assert found.optimizer == sum(value.nbytes for value in state)
    assert found.total == found.weights + found.gradients + found.optimizer + found.activations


def test_what_changes_it_changes_it() -> None:
    plain = reckoned(RECIPE)
    assert reckoned(replace(RECIPE, micro_batch=4)).activations == pytest.approx(2 * plain.activations, rel=0.02)
    assert reckoned(replace(RECIPE, ema=0.9)).average == plain.weights
    assert reckoned(replace(RECIPE, workers=2)).gradients == 2 * plain.gradients
    frozen = reckoned(replace(RECIPE, optim=OptimRecipe(frozen=("backbone",))))
    assert frozen.gradients < 0.5 * plain.gradients
    assert frozen.activations < 0.5 * plain.activations
    cuda = torch.device("cuda")
    half = reckoned(RECIPE, cuda).activations  # amp = auto is bf16 there; places that pools remember are not
    assert 0.5 * plain.activations <= half < 0.55 * plain.activations
    assert reckoned(replace(RECIPE, amp="off"), cuda) == plain
    assert reckoned(replace(RECIPE, amp="fp64")).weights == 2 * plain.weights
    stages = (StageRecipe(clip_length=4, epochs=1), StageRecipe(clip_length=8, epochs=1))
    assert reckoned(replace(RECIPE, stages=stages)).activations > 1.8 * plain.activations
