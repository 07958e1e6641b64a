"""ResNet: the 2D residual network, run on each frame of a clip.

Source: "Deep residual learning for image recognition", CVPR 2016, arXiv:1512.03385.
Parameter names and widths are those of torchvision's ImageNet weights.

Axes: N batch, C channels, T frames, H height, W width; B = N x T.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from training.models.registry import FLOW, IMAGENET, Backbone, positive, register_backbone, scaled


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or channels_in != channels_out:
            shortcut = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels_out))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C', H / stride, W / stride)``."""
        shortcut_BCHW: Tensor = x_BCHW if self.downsample is None else self.downsample(x_BCHW)
        x_BCHW = self.relu(self.bn1(self.conv1(x_BCHW)))
        out_BCHW: Tensor = self.relu(self.bn2(self.conv2(x_BCHW)) + shortcut_BCHW)
        return out_BCHW


class FrameResNet(Backbone):
    """ResNet trunk without classifier, frame by frame: ``(N, C, T, H, W)`` to ``(N, F, T, H / 32, W / 32)``.

    Frames do not see each other here; in training they share the statistics of the batch norms.

    Args:
        blocks: Residual blocks of each of the four stages.
        channels_in: C.
        width: Multiplier of every number of channels inside. F is 512 times it.
    """

    temporal_stride = 1

    def __init__(self, blocks: Sequence[int], channels_in: int = 3, width: float = 1.0) -> None:
        super().__init__()
        positive(width=width)
        widths = [scaled(channels, width) for channels in (64, 64, 128, 256, 512)]
        self.num_features = widths[-1]
        self.conv1 = nn.Conv2d(channels_in, widths[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for i, count in enumerate(blocks, start=1):
            first = BasicBlock(widths[i - 1], widths[i], stride=1 if i == 1 else 2)
            rest = (BasicBlock(widths[i], widths[i], stride=1) for _ in range(count - 1))
            self.add_module(f"layer{i}", nn.Sequential(first, *rest))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, F, T, H', W')``."""
        n, _, t, _, _ = x_NCTHW.shape
        x_BCHW = x_NCTHW.transpose(1, 2).flatten(0, 1)
        x_BCHW = self.maxpool(self.relu(self.bn1(self.conv1(x_BCHW))))
        for i in range(1, 5):
            x_BCHW = self.get_submodule(f"layer{i}")(x_BCHW)
        features_NFTHW: Tensor = x_BCHW.unflatten(0, (n, t)).transpose(1, 2)
        return features_NFTHW


@register_backbone(rgb=IMAGENET, flow=FLOW)
def resnet18(channels_in: int = 3, width: float = 1.0) -> FrameResNet:
    """ResNet with 18 layers, run per frame."""
    return FrameResNet((2, 2, 2, 2), channels_in, width)
