"""R(2+1)D: a 3D residual network whose convolutions are split into a spatial and a temporal one.

Source: "A closer look at spatiotemporal convolutions for action recognition", CVPR 2018, arXiv:1711.11248.
Parameter names and widths are those of the published IG-65M weights, which load unchanged. torchvision uses the
same names, but takes the middle width from the block instead of the convolution, and eps 1e-5: its weights do not fit.

Axes: N batch, C channels, T frames, H height, W width.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from training.models.registry import FLOW, KINETICS, Backbone, positive, register_backbone, scaled


def _norm(channels: int) -> nn.BatchNorm3d:
    # eps is that of the IG-65M weights. Their momentum, 0.9, lets the running statistics follow the last batch
    # alone: harmless with their batches, not with the small ones of a small machine, so torch's 0.1 stays.
    return nn.BatchNorm3d(channels, eps=1e-3)


class Conv2Plus1d(nn.Sequential):
    """A (1, 3, 3) convolution, then a (3, 1, 1) one, with about as many weights as one (3, 3, 3) convolution."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        middle = (27 * channels_in * channels_out) // (9 * channels_in + 3 * channels_out)
        super().__init__(
            nn.Conv3d(channels_in, middle, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
            _norm(middle),
            nn.ReLU(inplace=True),
            nn.Conv3d(middle, channels_out, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
        )


class BasicBlock(nn.Module):
    """Two factorised convolutions around a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(
            Conv2Plus1d(channels_in, channels_out, stride), _norm(channels_out), nn.ReLU(inplace=True)
        )
        self.conv2 = nn.Sequential(Conv2Plus1d(channels_out, channels_out), _norm(channels_out))
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or channels_in != channels_out:
            shortcut = nn.Conv3d(channels_in, channels_out, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, _norm(channels_out))

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, C', T / stride, H / stride, W / stride)``."""
        shortcut_NCTHW: Tensor = x_NCTHW if self.downsample is None else self.downsample(x_NCTHW)
        out_NCTHW: Tensor = self.relu(self.conv2(self.conv1(x_NCTHW)) + shortcut_NCTHW)
        return out_NCTHW


class R2Plus1d(Backbone):
    """R(2+1)D trunk without classifier: ``(N, C, T, H, W)`` to ``(N, F, T / 8, H / 16, W / 16)``, rounded up.

    Args:
        blocks: Residual blocks of each of the four stages.
        channels_in: C.
        width: Multiplier of every number of channels inside. F is 512 times it.
    """

    temporal_stride = 8

    def __init__(self, blocks: Sequence[int], channels_in: int = 3, width: float = 1.0) -> None:
        super().__init__()
        positive(width=width)
        middle = max(1, round(45 * width))
        widths = [scaled(channels, width) for channels in (64, 64, 128, 256, 512)]
        self.num_features = widths[-1]
        self.stem = nn.Sequential(
            nn.Conv3d(channels_in, middle, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
            _norm(middle),
            nn.ReLU(inplace=True),
            nn.Conv3d(middle, widths[0], (3, 1, 1), 1, (1, 0, 0), bias=False),
            _norm(widths[0]),
            nn.ReLU(inplace=True),
        )
        for i, count in enumerate(blocks, start=1):
            first = BasicBlock(widths[i - 1], widths[i], stride=1 if i == 1 else 2)
            rest = (BasicBlock(widths[i], widths[i], stride=1) for _ in range(count - 1))
            self.add_module(f"layer{i}", nn.Sequential(first, *rest))
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, F, T', H', W')``."""
        x_NCTHW = self.stem(x_NCTHW)
        for i in range(1, 5):
            x_NCTHW = self.get_submodule(f"layer{i}")(x_NCTHW)
        return x_NCTHW


@register_backbone(rgb=KINETICS, flow=FLOW)
def r2plus1d_18(channels_in: int = 3, width: float = 1.0) -> R2Plus1d:
    """R(2+1)D with 18 layers."""
    return R2Plus1d((2, 2, 2, 2), channels_in, width)


@register_backbone(rgb=KINETICS, flow=FLOW)
def r2plus1d_34(channels_in: int = 3, width: float = 1.0) -> R2Plus1d:
    """R(2+1)D with 34 layers."""
    return R2Plus1d((3, 4, 6, 3), channels_in, width)
