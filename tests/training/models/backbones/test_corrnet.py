"""CorrNet: its correlation against the definition, its sizes against the paper's figures, its fixed frames."""

import itertools

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models import build_recognizer
from kinebert.training.models.backbones.clips.corrnet import Correlation
from kinebert.training.models.sizes.measure import sizes_of


def defined(layer: Correlation, x_NCTHW: Tensor) -> Tensor:
    """The mean over a group of w x (pixel now) x (pixel before, up to six pixels away)."""
    n, c, t, h, w = x_NCTHW.shape
    out = torch.zeros(n, c // layer.group, 7, 7, t, h, w, dtype=x_NCTHW.dtype)
    for f, y, x, i, j in itertools.product(range(t), range(h), range(w), range(7), range(7)):
        there_y, there_x = y + 2 * (i - 3), x + 2 * (j - 3)
        if 0 <= there_y < h and 0 <= there_x < w:
            before_NC = x_NCTHW[:, :, max(0, f - 1), there_y, there_x]
            products_NC = layer.weight[:, f, i, j] * x_NCTHW[:, :, f, y, x] * before_NC
            out[:, :, i, j, f, y, x] = products_NC.unflatten(1, (-1, layer.group)).mean(dim=2)  # type: ignore[no-untyped-call]
    return out.flatten(1, 3)


def test_a_correlation_is_what_its_definition_says() -> None:
    torch.manual_seed(0)
    layer = Correlation(4, 3, 2).double()
    x_NCTHW = torch.randn(2, 4, 3, 4, 5, dtype=torch.float64)
    found = layer(x_NCTHW)
    assert found.shape == (2, layer.num_outputs, 3, 4, 5) == (2, 2 * 49, 3, 4, 5)
    assert torch.allclose(found, defined(layer, x_NCTHW), atol=1e-12)


def test_its_gradients_are_right_in_float64() -> None:
    torch.manual_seed(0)
    layer = Correlation(2, 2, 2).double()
    x_NCTHW = torch.randn(1, 2, 2, 2, 1, dtype=torch.float64, requires_grad=True)
    assert gradcheck(layer, x_NCTHW)


def test_a_moved_pixel_is_found_where_it_was() -> None:
    layer = Correlation(1, 2, 1)
    torch.nn.init.ones_(layer.weight)
    clip_NCTHW = torch.zeros(1, 1, 2, 9, 9)
    clip_NCTHW[0, 0, 0, 4, 2] = clip_NCTHW[0, 0, 1, 4, 6] = 1  # four pixels to the right
    here_KK = layer(clip_NCTHW)[0, :, 1, 4, 6].reshape(7, 7)
    assert here_KK.nonzero().tolist() == [[3, 1]], "no rows, and twice two pixels to the left"


@pytest.mark.parametrize(("backbone", "giga"), [("corrnet_50", 115), ("corrnet_101", 187)])
def test_operations_beside_the_papers(backbone: str, giga: int) -> None:
    """115 G is the paper's for 50 layers; for 101 it has 224 G, for which no reading was found."""
    sizes = sizes_of(backbone=backbone, head="tgap", num_classes=400, clip_length=32, size=224)
    products = 49 * (64 * 32 * 56**2 + 128 * 32 * 28**2 + (2 if backbone == "corrnet_101" else 1) * 256 * 16 * 14**2)
    assert round((sizes.macs + products) / 1e9) == giga


def test_frames_are_fixed_by_an_option() -> None:
    def build(clip_length: int, **options: int) -> None:
        build_recognizer(
            backbone="corrnet_50",
            head="bert",
            num_classes=2,
            clip_length=clip_length,
            size=32,
            width=0.125,
            backbone_options=options,
        )

    build(16, frames=16)
    with pytest.raises(ConfigError, match=r"has filters for clips of 32 frames, got 16: set its option frames"):
        build(16)
