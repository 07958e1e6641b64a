"""I3D: Inception-V1 with every convolution and pool inflated to three dimensions.

Source: "Quo vadis, action recognition? A new model and the Kinetics dataset", CVPR 2017, arXiv:1705.07750, figure 3.
The published weights come from TensorFlow: "same" padding, which depends on the size of the input and puts the odd
row at the end, and batch norms with epsilon 1e-3 and decay 0.99.

Axes: N batch, C channels, T frames, H height, W width, F features.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.blocks import draw_convolutions
from kinebert.training.models.inputs import CENTERED, CENTERED_FLOW
from kinebert.training.models.interfaces import Backbone
from kinebert.training.models.registry import register_backbone


class Branches(NamedTuple):
    """Channels of a mixed block's convolutions, in the order of the paper's table."""

    point: int
    first_reduce: int
    first: int
    second_reduce: int
    second: int
    pooled: int

    @property
    def total(self) -> int:
        """Channels that leave the block."""
        return self.point + self.first + self.second + self.pooled

    def scaled(self, width: float) -> "Branches":
        """Return every number of channels times ``width``."""
        return Branches(*(scaled(channels, width) for channels in self))


# "Going deeper with convolutions", CVPR 2015, table 1, but for the 208 of 4b and the 5c that follow it as well.
MIXED = {
    "mixed3b": Branches(64, 96, 128, 16, 32, 32),
    "mixed3c": Branches(128, 128, 192, 32, 96, 64),
    "mixed4b": Branches(192, 96, 208, 16, 48, 64),
    "mixed4c": Branches(160, 112, 224, 24, 64, 64),
    "mixed4d": Branches(128, 128, 256, 24, 64, 64),
    "mixed4e": Branches(112, 144, 288, 32, 64, 64),
    "mixed4f": Branches(256, 160, 320, 32, 128, 128),
    "mixed5b": Branches(256, 160, 320, 32, 128, 128),
    "mixed5c": Branches(384, 192, 384, 48, 128, 128),
}


def reduced(width: int) -> Branches:
    """Return the branches of a block that leaves ``width`` features: the published 192, 96, 192, 24, 64, 64 for 512.

    Raises:
        ConfigError: If ``width`` is not a positive multiple of 8.
    """
    if width < 8 or width % 8:
        raise ConfigError(f"I3D's features are reduced to a positive multiple of 8, got {width}.")
    return Branches(
        point=width * 3 // 8,
        first_reduce=max(1, width * 3 // 16),
        first=width * 3 // 8,
        second_reduce=max(1, width * 3 // 64),
        second=width // 8,
        pooled=width // 8,
    )


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the zeros before and after ``size`` values that leave ``ceil(size / stride)`` of them."""
    total = max(kernel - (size % stride or stride), 0)
    return total // 2, total - total // 2


class SameConv3d(nn.Conv3d):
    """A convolution without bias that pads what ``(T, H, W)`` of its input asks for."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__(channels_in, channels_out, kernel, stride, bias=False)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, C', T / stride, H / stride, W / stride)``, rounded up."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        pads = [same_padding(size, kernel, stride) for size in x_NCTHW.shape[2:]]
        inside = [min(pad) for pad in pads]  # what the convolution itself can pad, without a copy of its input
        outside = [after - before for before, after in reversed(pads)]
        if any(outside):
            x_NCTHW = functional.pad(x_NCTHW, [value for after in outside for value in (0, after)])
        return functional.conv3d(x_NCTHW, self.weight, None, self.stride, inside)


class SamePool3d(nn.MaxPool3d):
    """A maximum of non-negative values with "same" padding: the published zeros and the framework's -inf are one."""

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, C, T / stride, H / stride, W / stride)``, rounded up."""
        kernels, strides = self.kernel_size, self.stride
        assert isinstance(kernels, tuple)
        assert isinstance(strides, tuple)
        sizes = zip(x_NCTHW.shape[2:], kernels, strides, strict=True)
        before = [same_padding(size, kernel, stride)[0] for size, kernel, stride in sizes]
        # rounding up is the odd row at the end
        out: Tensor = functional.max_pool3d(x_NCTHW, kernels, strides, before, ceil_mode=True)
        return out


class Unit(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = SameConv3d(channels_in, channels_out, kernel, stride)
        self.norm = nn.BatchNorm3d(channels_out, eps=1e-3, momentum=0.01)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, C', T / stride, H / stride, W / stride)``, rounded up."""
        return functional.relu(self.norm(self.conv(x_NCTHW)), inplace=True)


class Mixed(nn.Module):
    """An inception block: four branches, side by side in channels."""

    def __init__(self, channels_in: int, branches: Branches) -> None:
        super().__init__()
        self.channels_in = channels_in
        self.point = Unit(channels_in, branches.point, 1)
        self.first_reduce = Unit(channels_in, branches.first_reduce, 1)
        self.first = Unit(branches.first_reduce, branches.first, 3)
        self.second_reduce = Unit(channels_in, branches.second_reduce, 1)
        self.second = Unit(branches.second_reduce, branches.second, 3)
        self.pool = SamePool3d((3, 3, 3), (1, 1, 1))
        self.pooled = Unit(channels_in, branches.pooled, 1)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, C', T, H, W)``."""
        branches = (
            self.point(x_NCTHW),
            self.first(self.first_reduce(x_NCTHW)),
            self.second(self.second_reduce(x_NCTHW)),
            self.pooled(self.pool(x_NCTHW)),
        )
        return torch.cat(branches, dim=1)


class I3d(Backbone):
    """I3D trunk without classifier: ``(N, C, T, H, W)`` to ``(N, F, T / 8, H / 32, W / 32)``, rounded up.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside. F is 1024 times it.
    """

    temporal_stride = 8
    mixed5c: Mixed

    def __init__(self, channels_in: int = 3, width: float = 1.0) -> None:
        super().__init__()
        positive(channels_in=channels_in, width=width)
        narrow, wide = scaled(64, width), scaled(192, width)
        self.conv1a = Unit(channels_in, narrow, 7, stride=2)
        self.pool2a = SamePool3d((1, 3, 3), (1, 2, 2))
        self.conv2b = Unit(narrow, narrow, 1)
        self.conv2c = Unit(narrow, wide, 3)
        self.pool3a = SamePool3d((1, 3, 3), (1, 2, 2))
        self.num_features = wide
        self._add_mixed("mixed3b", "mixed3c", width=width)
        self.pool4a = SamePool3d((3, 3, 3), (2, 2, 2))
        self._add_mixed("mixed4b", "mixed4c", "mixed4d", "mixed4e", "mixed4f", width=width)
        self.pool5a = SamePool3d((2, 2, 2), (2, 2, 2))
        self._add_mixed("mixed5b", "mixed5c", width=width)
        draw_convolutions(self)

    def _add_mixed(self, *names: str, width: float) -> None:
        for name in names:
            branches = MIXED[name].scaled(width)
            self.add_module(name, Mixed(self.num_features, branches))
            self.num_features = branches.total

    def reduce_append(self, width: int) -> None:
        """Append a block that leaves ``width`` features (FRAB), with torch's own initialisation, as published."""
        self.mapper = Mixed(self.num_features, reduced(width))
        self.num_features, self.reduced = width, ("mapper",)

    def reduce_replace(self, width: int) -> None:
        """Put a block that leaves ``width`` features in place of the last one (FRMB), whose weights are lost."""
        self.mixed5c = Mixed(self.mixed5c.channels_in, reduced(width))
        self.num_features, self.reduced = width, ("mixed5c",)

    def check_input(self, channels: int, frames: int, height: int, width: int) -> None:
        """Raise a ConfigError for an empty clip; every length and size will do."""
        if min(frames, height, width) < 1:
            raise ConfigError(
                f"I3D takes clips of any length and size above 0, got {frames} frames of {width}x{height}."
            )

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, F, T', H', W')``."""
        for stage in self.children():  # in the order of their names above, an appended block last
            x_NCTHW = self.run(stage, x_NCTHW)
        return x_NCTHW


@register_backbone(
    head_options={"init": "bert2", "normalize_tokens": True}, rgb=CENTERED, flow=CENTERED_FLOW, pose=CENTERED
)
def i3d(channels_in: int = 3, width: float = 1.0) -> I3d:
    """I3D, Inception-V1."""
    return I3d(channels_in, width)
