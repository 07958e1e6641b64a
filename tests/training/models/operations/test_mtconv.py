"""MTConv and the networks made of it, against a plain reading of the paper's equations."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models import BACKBONES, build_recognizer
from kinebert.training.models.operations.frame_selection import select_frames
from kinebert.training.models.operations.mtconv import MTBlock, MTConv

KERNEL, ONE = (3, 3, 3), (1, 1, 1)
NETWORKS = [pytest.param("mtnet_x3d_s", marks=pytest.mark.slow), "mtconv_resnet3d_50"]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(4)


def pooled(x: Tensor) -> Tensor:
    """Half of the picture and of the frames: equations 5 to 7."""
    weights = x.exp()
    return select_frames(functional.avg_pool3d(weights * x, (1, 2, 2)) / functional.avg_pool3d(weights, (1, 2, 2)))


@pytest.mark.parametrize("stride", [ONE, (2, 2, 2), (1, 2, 2)])
def test_both_branches_are_those_of_the_equations(stride: tuple[int, int, int]) -> None:
    conv = MTConv(16, 24, KERNEL, stride, 0.75).eval()
    x = torch.randn(2, 16, 8, 12, 12)
    local = functional.relu(conv.norm_local(conv.conv_local(x[:, :12])))
    own, lateral = conv.conv_prolonged(pooled(x[:, 12:])), conv.conv_lateral(pooled(local))
    prolonged = functional.relu(conv.norm_prolonged(own) + conv.norm_lateral(lateral))
    wanted = functional.interpolate(prolonged, local.shape[2:], mode="trilinear", align_corners=False)
    found = conv(x)
    torch.testing.assert_close(found[:, :18], local)
    torch.testing.assert_close(found[:, 18:], wanted)
    assert found.shape == (2, 24, 8 // stride[0], 12 // stride[1], 12 // stride[2])


def test_without_a_prolonged_branch_it_is_a_convolution() -> None:
    conv = MTConv(4, 6, KERNEL, ONE, 1.0).eval()
    x = torch.randn(1, 4, 3, 5, 5)
    torch.testing.assert_close(conv(x), functional.relu(conv.norm_local(conv.conv_local(x))))
    assert sum(p.numel() for p in conv.parameters()) == 27 * 4 * 6 + 2 * 6


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 3, 5), (3, 1, 2), (5, 6, 7)])
@pytest.mark.parametrize("stride", [ONE, (2, 2, 2)])
def test_every_size_will_do(size: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
    conv = MTConv(8, 8, KERNEL, stride, 0.5).eval()
    found = conv(torch.randn(1, 8, *size))
    assert found.shape[2:] == tuple(-(-side // step) for side, step in zip(size, stride, strict=True))


def test_gradients_are_right() -> None:
    conv = MTConv(2, 2, ONE, ONE, 0.5).double().eval()
    x = torch.randn(1, 2, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(conv, (x,))


def test_a_block_weights_its_features_by_what_it_was_given() -> None:
    block = MTBlock([nn.Conv3d(4, 4, 1)], None, 4, "gru", 1)
    x = torch.randn(2, 4, 5, 3, 3)
    assert block.recursion is not None
    weights_TNC = block.recursion.cells(x.mean(dim=(3, 4)).permute(2, 0, 1))[0]
    wanted = functional.relu(x + block.convs(x) * weights_TNC.permute(1, 2, 0)[..., None, None])
    torch.testing.assert_close(block(x), wanted)
    torch.testing.assert_close(MTBlock([nn.Identity()], None, 4, "none", 1)(x), functional.relu(2 * x))


@pytest.mark.parametrize("backbone", NETWORKS)
@pytest.mark.parametrize("options", [{"ratio": 1.0}, {"ratio": 0.5, "cell": "peephole_lstm"}])
def test_options_make_other_networks(backbone: str, options: dict[str, Any]) -> None:
    net = build_recognizer(
        backbone=backbone, head="tgap", num_classes=2, clip_length=16, size=32, width=0.25, backbone_options=options
    )
    logits = net.eval()(torch.randn(2, 3, 16, 32, 32))
    assert logits.isfinite().all()


@pytest.mark.parametrize("backbone", NETWORKS)
@pytest.mark.parametrize("frames", [1, 18])
def test_steps_are_those_that_it_leaves(backbone: str, frames: int) -> None:
    net = BACKBONES[backbone].build(width=0.125).eval()
    with torch.inference_mode():
        assert net(torch.randn(1, 3, frames, 16, 16)).shape[2] == net.num_steps(frames)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"ratio": 0.0}, "above 0"), ({"ratio": 1.5}, "at most 1"), ({"ratio": 0.01}, "wider"), ({"cell": "gr"}, "gru")],
)
def test_what_it_cannot_be_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        BACKBONES["mtnet_x3d_s"].build(**options)
