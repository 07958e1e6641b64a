"""SoftPool: by hand, against its definition, its gradients, its range, and its speed beside the usual formula."""

import pytest
import torch
from torch.nn import functional

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.operations.soft_pool import soft_pool


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(3)


def by_the_formula(x: torch.Tensor, window: tuple[int, int, int]) -> torch.Tensor:
    exponentials = x.exp()
    return functional.avg_pool3d(exponentials * x, window) / functional.avg_pool3d(exponentials, window)


def test_two_values_by_hand() -> None:
    three = torch.tensor([[[0.0, torch.log(torch.tensor(3.0))]]])  # weights 1/4 and 3/4
    assert float(soft_pool(three, (2,))) == pytest.approx(0.75 * float(three[0, 0, 1]))


@pytest.mark.parametrize("window", [(1, 2, 2), (2, 2, 2), (3, 1, 2), (1, 1, 1)])
def test_it_is_the_exponentially_weighted_average(window: tuple[int, int, int]) -> None:
    x = torch.randn(2, 3, 7, 8, 9, dtype=torch.float64)
    torch.testing.assert_close(soft_pool(x, window), by_the_formula(x, window))


def test_it_lies_between_average_and_maximum() -> None:
    x = torch.randn(2, 4, 8, 8)
    pooled = soft_pool(x, (2, 2))
    assert (pooled > functional.avg_pool2d(x, 2)).all()
    assert (pooled < functional.max_pool2d(x, 2)).all()


@pytest.mark.parametrize("scale", [1e4, 1e-4])
def test_large_and_small_values_do_not_overflow(scale: float) -> None:
    x = (scale * torch.randn(1, 2, 4, 4, 4)).requires_grad_()
    pooled = soft_pool(x, (2, 2, 2))
    pooled.sum().backward()
    assert pooled.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    torch.testing.assert_close(soft_pool(x - 7 * scale, (2, 2, 2)) + 7 * scale, pooled, rtol=1e-3, atol=1e-5 * scale)


def test_gradients_are_right() -> None:
    x = torch.randn(2, 2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: soft_pool(x, (1, 2, 2)), (x,))
    assert torch.autograd.gradgradcheck(lambda x: soft_pool(x, (2, 2, 2)), (x,))


def test_clips_do_not_meet() -> None:
    x = torch.randn(3, 2, 4, 4, 4)
    assert torch.equal(soft_pool(x, (1, 2, 2))[1:2], soft_pool(x[1:2], (1, 2, 2)))


@pytest.mark.parametrize("window", [(2, 2), (1, 5, 1), (0, 1, 1)])
def test_windows_that_do_not_fit_are_refused(window: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="window"):
        soft_pool(torch.zeros(1, 1, 4, 4, 4), window)
