"""I3D: Inception-V1 with every convolution and pool inflated to three dimensions.

Source: "Quo vadis, action recognition? A new model and the Kinetics dataset", CVPR 2017, arXiv:1705.07750, figure 3.
The published weights come from TensorFlow: "same" padding, which depends on the size of the input and puts the odd
row at the end, and batch norms with epsilon 1e-3 and decay 0.99.

Axes: N batch, C channels, T frames, H height, W width, F features.
"""

from torch import Tensor, nn
from torch.nn import functional

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.blocks import draw_convolutions
from kinebert.training.models.inception import MIXED, Branches, Mixed, Unit, reduced
from kinebert.training.models.inputs import CENTERED, CENTERED_FLOW
from kinebert.training.models.interfaces import Backbone
from kinebert.training.models.registry import register_backbone


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the zeros before and after ``size`` values that leave ``ceil(size / stride)`` of them."""
    total = max(kernel - (size % stride or stride), 0)
    return total // 2, total - total // 2


class SameConv3d(nn.Conv3d):
    """A convolution without bias that pads what ``(T, H, W)`` of its input asks for."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int | tuple[int, int, int],
        stride: int | tuple[int, int, int] = 1,
    ) -> None:
        super().__init__(channels_in, channels_out, kernel, stride, bias=False)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, C', T / stride, H / stride, W / stride)``, rounded up."""
        sizes = zip(x_NCTHW.shape[2:], self.kernel_size, self.stride, strict=True)
        pads = [same_padding(size, kernel, stride) for size, kernel, stride in sizes]
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


def unit(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> Unit:
    """Return a convolution with "same" padding, its batch norm, and a ReLU."""
    conv = SameConv3d(channels_in, channels_out, kernel, stride)
    return Unit(conv, nn.BatchNorm3d(channels_out, eps=1e-3, momentum=0.01))


def mixed(channels_in: int, branches: Branches) -> Mixed:
    """Return an inception block with "same" padding."""
    return Mixed(channels_in, branches, unit, SamePool3d((3, 3, 3), (1, 1, 1)))


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
        self.conv1a = unit(channels_in, narrow, 7, stride=2)
        self.pool2a = SamePool3d((1, 3, 3), (1, 2, 2))
        self.conv2b = unit(narrow, narrow, 1)
        self.conv2c = unit(narrow, wide, 3)
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
            self.add_module(name, mixed(self.num_features, branches))
            self.num_features = branches.total

    def reduce_append(self, width: int) -> None:
        """Append a block that leaves ``width`` features (FRAB), with torch's own initialisation, as published."""
        self.mapper = mixed(self.num_features, reduced(width))
        self.num_features, self.reduced = width, ("mapper",)

    def reduce_replace(self, width: int) -> None:
        """Put a block that leaves ``width`` features in place of the last one (FRMB), whose weights are lost."""
        self.mixed5c = mixed(self.mixed5c.channels_in, reduced(width))
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
