"""SRTG: residual networks of clips whose every block is followed by squeeze and recursion, and perhaps by a gate.

Source: "Learn to cycle: time-consistent feature discovery for action recognition", Pattern Recognition Letters 2021,
arXiv:2006.08247, and alexandrosstergiou/Squeeze-and-Recursion-Temporal-Gates: families ``srtg`` of
:mod:`..clips.resnet3d` and :mod:`..clips.r2plus1d`, two layers of LSTM cells behind the last ReLU of each block.

The published weights were trained without gates. With ``gates=True`` a block's weighting passes a clip by unless the
averages and what the cells make of them are cyclic-consistent, as the paper says; in the published program no gate ever
opens, since the marks of consistent clips are cleared again.

Axes: N batch, C channels, T frames, H height, W width, F features.
"""

from collections import OrderedDict
from typing import TypeVar

from torch import nn

from kinebert.training.models.backbones.clips.r2plus1d import R2Plus1d
from kinebert.training.models.backbones.clips.resnet3d import ResNet3d
from kinebert.training.models.blocks import ResidualTrunk
from kinebert.training.models.inputs import FLOW, MFNET
from kinebert.training.models.operations.recursion import SqueezeAndRecursion
from kinebert.training.models.registry import register_backbone

FAMILY = "srtg"
"""Of the networks that are published with recursion."""
_OPEN = 2.0
"""Bias of fresh gates, and of what they let in: its sigmoid is 0.88, its hyperbolic tangent 0.96."""

Trunk = TypeVar("Trunk", bound=ResidualTrunk)


def with_recursion(trunk: Trunk, gates: bool) -> Trunk:
    """Put squeeze and recursion behind every residual block of ``trunk``, in place; blocks of reductions have none."""
    for stage, channels in zip(trunk.stages(), trunk.widths[1:], strict=True):
        assert isinstance(stage, nn.Sequential)
        for i, block in enumerate(stage):
            recursion = SqueezeAndRecursion(channels, "lstm", 2, gates)
            _open(recursion.cells)
            stage[i] = nn.Sequential(OrderedDict(block=block, recursion=recursion))
    return trunk


def _open(cells: nn.Module) -> None:
    """Let the gates of fresh cells start open: weights near 1.

    PyTorch's own start leaves a tenth of the features, shortcut included, to the next block: nothing after all of them.
    """
    for name, bias in cells.named_parameters():
        if name.startswith("bias_ih"):
            nn.init.constant_(bias, _OPEN)


def _r3d(blocks: tuple[int, ...], bottleneck: bool, channels_in: int, width: float, gates: bool) -> ResNet3d:
    return with_recursion(ResNet3d(blocks, bottleneck, channels_in, width, FAMILY, "B"), gates)


def _r2plus1d(blocks: tuple[int, ...], bottleneck: bool, channels_in: int, width: float, gates: bool) -> R2Plus1d:
    return with_recursion(R2Plus1d(blocks, bottleneck, channels_in, width, FAMILY, 0.1), gates)


@register_backbone(rgb=MFNET, flow=FLOW, pose=MFNET)
def srtg_r3d_34(channels_in: int = 3, width: float = 1.0, *, gates: bool = False) -> ResNet3d:
    """3D ResNet with 34 layers and squeeze and recursion."""
    return _r3d((3, 4, 6, 3), False, channels_in, width, gates)


@register_backbone(rgb=MFNET, flow=FLOW, pose=MFNET)
def srtg_r3d_50(channels_in: int = 3, width: float = 1.0, *, gates: bool = False) -> ResNet3d:
    """3D ResNet with 50 layers and squeeze and recursion."""
    return _r3d((3, 4, 6, 3), True, channels_in, width, gates)


@register_backbone(rgb=MFNET, flow=FLOW, pose=MFNET)
def srtg_r3d_101(channels_in: int = 3, width: float = 1.0, *, gates: bool = False) -> ResNet3d:
    """3D ResNet with 101 layers and squeeze and recursion."""
    return _r3d((3, 4, 23, 3), True, channels_in, width, gates)


@register_backbone(rgb=MFNET, flow=FLOW, pose=MFNET)
def srtg_r2plus1d_34(channels_in: int = 3, width: float = 1.0, *, gates: bool = False) -> R2Plus1d:
    """R(2+1)D with 34 layers and squeeze and recursion."""
    return _r2plus1d((3, 4, 6, 3), False, channels_in, width, gates)


@register_backbone(rgb=MFNET, flow=FLOW, pose=MFNET)
def srtg_r2plus1d_50(channels_in: int = 3, width: float = 1.0, *, gates: bool = False) -> R2Plus1d:
    """R(2+1)D with 50 layers and squeeze and recursion."""
    return _r2plus1d((3, 4, 6, 3), True, channels_in, width, gates)


@register_backbone(rgb=MFNET, flow=FLOW, pose=MFNET)
def srtg_r2plus1d_101(channels_in: int = 3, width: float = 1.0, *, gates: bool = False) -> R2Plus1d:
    """R(2+1)D with 101 layers and squeeze and recursion."""
    return _r2plus1d((3, 4, 23, 3), True, channels_in, width, gates)
