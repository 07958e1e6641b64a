"""Losses are sums over clips, whatever says what a clip shows."""

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from kinebert.training.optim.losses import cross_entropy_sum


def test_label_smoothing_changes_the_loss_as_defined() -> None:
    logits, labels = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    right, wrong = math.log(1 + math.exp(-2)), 2 + math.log(1 + math.exp(-2))
    assert float(cross_entropy_sum(logits, labels)) == pytest.approx(right)
    assert float(cross_entropy_sum(logits, labels, 0.2)) == pytest.approx(0.9 * right + 0.1 * wrong)


def test_cross_entropy_of_shares_is_torch_s() -> None:
    logits_NK, shares_NK = torch.randn(3, 4, dtype=torch.float64), torch.rand(3, 4).softmax(dim=1)
    expected = -(shares_NK.double() * F.log_softmax(logits_NK, dim=1)).sum()
    torch.testing.assert_close(cross_entropy_sum(logits_NK, shares_NK), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_sum_is_that_of_its_parts(smoothing: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits_NK, labels_N = torch.randn(7, 5, generator=generator), torch.tensor([0, 1, 2, 3, 4, 0, 1])
    parts = [cross_entropy_sum(logits_NK[i : i + 1], labels_N[i : i + 1], smoothing) for i in range(7)]
    torch.testing.assert_close(cross_entropy_sum(logits_NK, labels_N, smoothing), torch.stack(parts).sum())
    mean = F.cross_entropy(logits_NK, labels_N, label_smoothing=smoothing)
    torch.testing.assert_close(cross_entropy_sum(logits_NK, labels_N, smoothing), 7 * mean)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_label_is_the_whole_share_of_its_class(smoothing: float) -> None:
    logits_NK, labels_N = torch.randn(4, 3), torch.tensor([2, 0, 1, 2])
    shares_NK = F.one_hot(labels_N, 3).float()
    torch.testing.assert_close(
        cross_entropy_sum(logits_NK, shares_NK, smoothing), cross_entropy_sum(logits_NK, labels_N, smoothing)
    )


def test_no_clip_has_no_loss() -> None:
    assert float(cross_entropy_sum(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))) == 0
