"""Features at other times and places."""

import pytest
import torch
from torch.nn import functional

from kinebert.training.models.operations.sampling import resized, spread


@pytest.mark.parametrize("size", [(8, 6, 6), (3, 4, 9), (2, 5, 1), (1, 1, 1)])
def test_areas_keep_every_average(size: tuple[int, int, int]) -> None:
    x = torch.randn(2, 3, 2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    wide = spread(x, size)
    assert wide.shape == (2, 3, *size)
    torch.testing.assert_close(wide.mean(dim=(2, 3, 4)), x.mean(dim=(2, 3, 4)))
    if size == (8, 6, 6):
        torch.testing.assert_close(wide[:, :, ::4, :, ::2].mean(dim=3), x.mean(dim=3))


def test_interpolation_to_the_same_size_is_left_out_and_would_change_nothing() -> None:
    x = torch.randn(1, 2, 4, 5, 6)
    assert resized(x, (4, 5, 6)) is x
    assert torch.equal(functional.interpolate(x, size=(4, 5, 6), mode="trilinear", align_corners=False), x)
    assert resized(x, (2, 5, 9)).shape == (1, 2, 2, 5, 9)
