"""Losses of distillation that nobody publishes numbers of, by hand; sums over clips; what a recipe may say."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.errors import ConfigError
from kinebert.training.distillation.losses import feature_sum, sequence_sum, soft_label_sum
from kinebert.training.recipe.distill import DistillRecipe


def test_soft_labels_by_hand() -> None:
    ours, theirs = torch.tensor([[0.0, 0.0]], dtype=torch.float64), torch.tensor([[2 * math.log(3), 0.0]]).double()
    # at temperature 2 the teacher says 3/4 and 1/4, the student 1/2 and 1/2
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert float(soft_label_sum(ours, theirs, 2.0)) == pytest.approx(4 * divergence)


def test_soft_labels_pull_as_their_cross_entropy_does_whatever_the_temperature() -> None:
    generator = torch.Generator().manual_seed(0)
    ours = torch.randn(3, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    theirs = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    (found,) = torch.autograd.grad(soft_label_sum(ours, theirs, 3.0), ours)
    shares = F.softmax(theirs / 3, dim=1)
    (expected,) = torch.autograd.grad(9 * F.cross_entropy(ours / 3, shares, reduction="sum"), ours)
    torch.testing.assert_close(found, expected)
    (hot,) = torch.autograd.grad(soft_label_sum(ours, theirs, 1000.0), ours)
    centred = [logits - logits.mean(1, keepdim=True) for logits in (ours.detach(), theirs)]
    torch.testing.assert_close(hot, (centred[0] - centred[1]) / 5, rtol=1e-2, atol=1e-3)  # section 2.1 of the paper


@pytest.mark.parametrize("shape", [(7, 6), (7, 4, 6)])
def test_sums_are_those_of_their_parts(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))

    def losses(a: Tensor, b: Tensor) -> list[Tensor]:
        if a.ndim == 2:
            return [feature_sum(a, b), soft_label_sum(a, b, 2.0)]
        hidden = torch.ones_like(a[..., 0])
        return [sequence_sum(a, b), sequence_sum(a, b, "sum"), sequence_sum(a, b, "mean", hidden)]

    parts = [losses(ours[i : i + 1], theirs[i : i + 1]) for i in range(7)]
    for whole, *each in zip(losses(ours, theirs), *parts, strict=True):
        torch.testing.assert_close(whole, torch.stack(each).sum())


def test_vectors_of_zeros_have_a_direction_of_zeros_and_gradients_that_are_numbers() -> None:
    ours = torch.zeros(1, 2, 4)
    ours[0, 1] = 3.0
    ours.requires_grad_()
    theirs = torch.zeros(1, 2, 4)
    loss = sequence_sum(ours, theirs, "sum")
    assert float(loss.detach()) == pytest.approx(1)  # the step of zeros is where its teacher is, the other 1 away
    loss.backward()
    assert ours.grad is not None
    assert ours.grad.isfinite().all()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"method": "mars", "temperature": 2.0}, r"distill.temperature is of distill.method = 'logits'"),
        ({"method": "logits", "positions": "hidden"}, r"distill.positions is of distill.method = 'bert'"),
        ({"method": "mars", "mers": "stages", "feature_epochs": 3}, r"distill.mers is of distill.method = 'mers'"),
        ({"method": "mers", "mers": "stages"}, r"feature_epochs is 0 and distill.mers 'stages'"),
        ({"method": "mers", "feature_epochs": 3}, r"feature_epochs is 3 and distill.mers 'joint'"),
        ({"method": "logits", "projection": True}, r"distill.projection joins features"),
        ({"method": "bert", "weight": 0.0}, r"distill.weight must be positive"),
        ({"method": "logits", "temperature": 0.0}, r"distill.temperature must be positive"),
        ({"method": "bert", "teacher_digest": "ab"}, r"teacher_digest is given without distill.teacher"),
        ({"method": "bert", "network": {"backbone": "resnext11"}}, r"resnext101"),
        ({"method": "attention"}, r"'mars', 'mers', 'bert', 'logits'"),
    ],
)
def test_what_is_not_understood_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        from_mapping(DistillRecipe, values, "distill")
