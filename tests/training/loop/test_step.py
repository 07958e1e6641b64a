"""The halves of a step: exact accumulation, gradients that are no numbers, seeds, and torch's optimizers by hand."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from kinebert.training.loop.step import Gradients, accumulate, update
from kinebert.training.optim.losses import cross_entropy_sum
from kinebert.training.optim.registry import build_optimizer
from kinebert.training.recipe.train import OptimRecipe


def batch_of(num: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, 6, generator=generator), torch.randint(0, 3, (num,), generator=generator)


def network(*layers: nn.Module) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), *layers, nn.Linear(8, 3))


def step(
    model: nn.Module, sizes: list[int], max_norm: float = 1e9, seeds: list[int] | None = None
) -> tuple[Gradients, Tensor]:
    """One update, as :class:`.Learner` makes it; what the passes came to, and the gradient's norm."""
    clips, labels = batch_of(sum(sizes))
    parts = list(zip(clips.split(sizes), labels.split(sizes), strict=True))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    done = accumulate(model, parts, cross_entropy_sum, num_clips=sum(sizes), seeds=seeds)
    return done, update(model, optimizer, max_norm)


@pytest.mark.parametrize("sizes", [[4, 4], [5, 3], [1] * 8])
def test_the_cut_into_batches_does_not_matter(sizes: list[int]) -> None:
    whole, cut = network(nn.ReLU()), network(nn.ReLU())
    (a, norm_a), (b, norm_b) = step(whole, [8]), step(cut, sizes)
    torch.testing.assert_close(list(cut.parameters()), list(whole.parameters()))
    torch.testing.assert_close((b.loss, norm_b), (a.loss, norm_a))
    assert a.num_right == b.num_right


def test_loss_and_count_are_those_before_the_update() -> None:
    model = network()
    clips, labels = batch_of(8)
    logits = model(clips)
    result, _ = step(model, [8])
    torch.testing.assert_close(result.loss, nn.functional.cross_entropy(logits, labels))
    assert result.num_right == (logits.argmax(1) == labels).sum()


def test_the_gradient_s_norm_is_limited() -> None:
    model = network()
    before = copy.deepcopy(list(model.parameters()))
    _, grad_norm = step(model, [8], max_norm=0.01)
    moved = math.sqrt(
        sum(float((a - b).detach().square().sum()) for a, b in zip(model.parameters(), before, strict=True))
    )
    assert grad_norm > 0.1
    assert moved == pytest.approx(0.5 * 0.01, rel=1e-3)


def test_a_broken_gradient_leaves_the_weights_alone() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    clips, labels = batch_of(4)
    clips[2, 1] = float("inf")
    before = copy.deepcopy(model.state_dict())
    done = accumulate(model, [(clips, labels)], cross_entropy_sum, num_clips=4)
    assert done.loss.isnan()
    with pytest.raises(FloatingPointError, match="norm is nan"):
        update(model, optimizer, max_grad_norm=1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_dropout_follows_the_seeds_and_not_the_past() -> None:
    losses = []
    for past in (0, 5):
        model = network(nn.Dropout(0.5))
        torch.rand(past)
        losses.append(float(step(model, [4, 4], seeds=[3, 4])[0].loss))
    assert losses[0] == losses[1]
    assert float(step(network(nn.Dropout(0.5)), [4, 4], seeds=[3, 5])[0].loss) != losses[0]


def test_sgd_with_dampening_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([1.0]))
    recipe = OptimRecipe(name="sgd", lr=0.1, momentum=0.9, dampening=0.9, weight_decay=0.0)
    optimizer = build_optimizer([weight], recipe)
    for _ in range(2):
        weight.grad = torch.tensor([1.0])
        optimizer.step()
    # torch: the first momentum is the whole gradient, 1; the second 0.9 * 1 + (1 - 0.9) * 1 = 1
    assert weight.item() == pytest.approx(1 - 0.1 - 0.1)


def test_adamw_decays_before_it_steps() -> None:
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = build_optimizer([weight], OptimRecipe(lr=0.01, weight_decay=0.5))
    weight.grad = torch.tensor([3.0])
    optimizer.step()
    assert float(weight) == pytest.approx(2 * (1 - 0.01 * 0.5) - 0.01, rel=1e-5)


def test_a_scaler_leaves_an_overflowing_step_out_and_lowers_its_scale() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    clips, labels = batch_of(4)
    before = copy.deepcopy(model.state_dict())
    broken = (clips * float("inf"), labels)
    accumulate(model, [broken], cross_entropy_sum, num_clips=4, scaler=scaler)
    update(model, optimizer, 1e9, scaler)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert scaler.get_scale() == 512
    accumulate(model, [(clips, labels)], cross_entropy_sum, num_clips=4, scaler=scaler)
    grad_norm = update(model, optimizer, 1e9, scaler)
    reference = network()
    _, expected = step(reference, [4])
    torch.testing.assert_close(list(model.parameters()), list(reference.parameters()))
    torch.testing.assert_close(grad_norm, expected)  # of the gradients, not of the scaled ones
