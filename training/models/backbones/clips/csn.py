"""CSN: a 3D residual network whose convolutions over frames work on each channel by itself.

Source: "Video classification with channel-separated convolutional networks", ICCV 2019, arXiv:1904.02811. The
convolution over 3x3x3 of a bottleneck becomes a depth-wise one (interaction-reduced, ``ir``), or one of size 1 and a
depth-wise one (interaction-preserved, ``ip``). As published, a batch norm and no ReLU stands between these two, every
batch norm adds 1e-3 to a variance, and a pool behind the stem halves H and W.

Axes: N batch, C channels, T frames, H height, W width, F features.
"""

from functools import partial

from torch import nn

from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.blocks import Bottleneck, ResidualTrunk, convolution, stem
from kinebert.training.models.inputs import FLOW, KINETICS
from kinebert.training.models.registry import register_backbone

LAYERS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Blocks of each stage by depth."""
EPS = 1e-3


class SeparatedBottleneck(Bottleneck):
    """A bottleneck with a depth-wise convolution in the middle, behind one of size 1 if interactions are preserved."""

    def __init__(self, preserved: bool, channels_in: int, middle: int, channels_out: int, step: int) -> None:
        super().__init__(channels_in, middle, channels_out, (3, 3, 3), (step,) * 3, groups=middle)
        if preserved:
            one = convolution(middle, middle, (1, 1, 1), (1, 1, 1))
            self.conv2 = nn.Sequential(one, nn.BatchNorm3d(middle), self.conv2)


class Csn(ResidualTrunk):
    """CSN trunk without classifier: ``(N, C, T, H, W)`` to ``(N, F, T / 8, H / 32, W / 32)``, rounded up.

    Args:
        depth: Key of :data:`LAYERS`.
        preserved: Whether a convolution of size 1 lets channels interact before each depth-wise one.
        channels_in: C.
        width: Multiplier of every number of channels inside. F is 2048 times it.
        momentum: Of the batch norms' running statistics. VMZ trained with 0.9, which lets them follow the last batch.
    """

    temporal_stride = 8

    def __init__(self, depth: int, preserved: bool, channels_in: int, width: float, momentum: float) -> None:
        positive(width=width, momentum=momentum)
        widths = [scaled(channels, width) for channels in (64, 256, 512, 1024, 2048)]
        pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        super().__init__(
            channels_in,
            stem(channels_in, widths[0], (3, 7, 7), pool),
            LAYERS[depth],
            widths,
            partial(_block, preserved),
        )
        self.preserved, self.momentum = preserved, momentum
        _set_norms(self, momentum)

    def make_reduction(self, channels_in: int, channels_out: int) -> nn.Module:
        """Return a block of the network's own kind, half as wide inside; the papers reduce no CSN."""
        block = SeparatedBottleneck(self.preserved, channels_in, max(1, channels_out // 2), channels_out, 1)
        return _set_norms(block, self.momentum)


def _block(preserved: bool, stage: int, channels_in: int, channels_out: int, step: int) -> nn.Module:
    del stage
    return SeparatedBottleneck(preserved, channels_in, channels_out // 4, channels_out, step)


def _set_norms(net: nn.Module, momentum: float) -> nn.Module:
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.eps, module.momentum = EPS, momentum
    return net


@register_backbone(rgb=KINETICS, flow=FLOW, pose=KINETICS)
def csn_ir_50(channels_in: int = 3, width: float = 1.0, *, momentum: float = 0.1) -> Csn:
    """Interaction-reduced CSN with 50 layers."""
    return Csn(50, False, channels_in, width, momentum)


@register_backbone(rgb=KINETICS, flow=FLOW, pose=KINETICS)
def csn_ir_101(channels_in: int = 3, width: float = 1.0, *, momentum: float = 0.1) -> Csn:
    """Interaction-reduced CSN with 101 layers."""
    return Csn(101, False, channels_in, width, momentum)


@register_backbone(rgb=KINETICS, flow=FLOW, pose=KINETICS)
def csn_ir_152(channels_in: int = 3, width: float = 1.0, *, momentum: float = 0.1) -> Csn:
    """Interaction-reduced CSN with 152 layers."""
    return Csn(152, False, channels_in, width, momentum)


@register_backbone(rgb=KINETICS, flow=FLOW, pose=KINETICS)
def csn_ip_50(channels_in: int = 3, width: float = 1.0, *, momentum: float = 0.1) -> Csn:
    """Interaction-preserved CSN with 50 layers."""
    return Csn(50, True, channels_in, width, momentum)


@register_backbone(rgb=KINETICS, flow=FLOW, pose=KINETICS)
def csn_ip_101(channels_in: int = 3, width: float = 1.0, *, momentum: float = 0.1) -> Csn:
    """Interaction-preserved CSN with 101 layers."""
    return Csn(101, True, channels_in, width, momentum)


@register_backbone(rgb=KINETICS, flow=FLOW, pose=KINETICS)
def csn_ip_152(channels_in: int = 3, width: float = 1.0, *, momentum: float = 0.1) -> Csn:
    """Interaction-preserved CSN with 152 layers."""
    return Csn(152, True, channels_in, width, momentum)
