"""What every residual network here is made of: convolutions, shortcuts, blocks, and a trunk of four stages.

Blocks work on images and on clips alike: kernels and strides of two numbers make 2D layers, of three 3D layers.
What connects frames in a network of pictures is put into its blocks by :mod:`kinebert.training.models.temporal`.
Sources: "Deep residual learning for image recognition", CVPR 2016, arXiv:1512.03385 (blocks, shortcuts A and B);
"Late temporal modeling in 3D CNN architectures with BERT for action recognition", arXiv:2008.01232 (FRAB and FRMB).

Axes: N batch, C channels, T frames, H height, W width; ... is H and W, or T, H and W.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional

from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.lookup import find
from kinebert.training.models.arguments import positive
from kinebert.training.models.depthwise import DepthwiseConv3d, PointwiseConv3d
from kinebert.training.models.interfaces import Backbone

Size = tuple[int, ...]
_CONVOLUTIONS: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
NORMS: dict[int, Any] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
"""Batch norms by the number of axes that a kernel has."""


def convolution(
    channels_in: int, channels_out: int, kernel: Size, stride: Size, groups: int = 1, *, bias: bool = False
) -> nn.Module:
    """Return a convolution that is padded so that its output is the input's size over ``stride``, rounded up."""
    padding = tuple(length // 2 for length in kernel)
    by_channel = len(kernel) == 3 and groups == channels_in == channels_out > 1
    by_pixel = len(kernel) == 3 and groups == max(kernel) == max(stride) == 1
    make: Any = DepthwiseConv3d if by_channel else PointwiseConv3d if by_pixel else _CONVOLUTIONS[len(kernel)]
    layer: nn.Module = make(channels_in, channels_out, kernel, stride, padding, groups=groups, bias=bias)
    return layer


OverTime = Callable[[int, int, int, int], nn.Module]
"""What makes the second half of a factored convolution: called with the channels, the kernel and step in time, and the
groups of channels that are filtered by themselves."""


def factored(
    channels_in: int,
    channels_out: int,
    kernel: Size,
    stride: Size,
    groups: int,
    over_time: OverTime | None,
    *,
    bias: bool = False,
) -> tuple[nn.Module, nn.Module | None]:
    """Return a convolution, and what stands behind its norm: nothing, or what ``over_time`` makes to look at frames."""
    if over_time is None:
        return convolution(channels_in, channels_out, kernel, stride, groups, bias=bias), None
    pictures = convolution(channels_in, channels_out, (1, *kernel[1:]), (1, *stride[1:]), groups, bias=bias)
    return pictures, over_time(channels_out, kernel[0], stride[0], groups)


class ZeroPadding(nn.Module):
    """Shortcut A: every ``stride``-th value, and zeros for the channels that the input does not have."""

    def __init__(self, new_channels: int, stride: Size) -> None:
        super().__init__()
        self.new_channels, self.steps = new_channels, tuple(slice(None, None, step) for step in stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, ...)`` to ``(N, C + new_channels, ... / stride)``."""
        return functional.pad(x[:, :, *self.steps], (0, 0) * len(self.steps) + (0, self.new_channels))


def projection(channels_in: int, channels_out: int, stride: Size, norm: Callable[[int], nn.Module]) -> nn.Module:
    """Return shortcut B: a convolution of size 1, and a norm."""
    return nn.Sequential(convolution(channels_in, channels_out, (1,) * len(stride), stride), norm(channels_out))


def shortcut(kind: str, channels_in: int, channels_out: int, stride: Size) -> nn.Module | None:
    """Return the shortcut around a block, None where its input can be added as it is.

    Raises:
        ConfigError: If ``kind`` is neither A nor B.
    """
    make = find({"A": _padded, "B": _projected}, kind, "shortcut")
    return None if max(stride) == 1 and channels_in == channels_out else make(channels_in, channels_out, stride)


def _padded(channels_in: int, channels_out: int, stride: Size) -> nn.Module:
    return ZeroPadding(channels_out - channels_in, stride)


def _projected(channels_in: int, channels_out: int, stride: Size) -> nn.Module:
    return projection(channels_in, channels_out, stride, NORMS[len(stride)])


class Stage(nn.Sequential):
    """Modules in a row that are all told the same of what they are given: the number of clips in a batch of frames."""

    def forward(self, x: Tensor, *context: Any) -> Tensor:
        """Pass ``x`` through every module, each called as ``module(x, *context)``."""
        for module in self:
            x = module(x, *context)
        return x


class Connected(nn.Module):
    """A block of a network of pictures, and what may connect frames around it.

    ``before`` stands in front of the block, ``inside`` in front of its first convolution, apart from its shortcut,
    ``behind`` behind it; each is called with all that the block is called with.
    """

    inside_in_front = False
    """Whether ``inside`` stands in front of a block that has no shortcut, as ``before`` does, or else behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.before: nn.Module | None = None
        self.inside: nn.Module | None = None
        self.behind: nn.Module | None = None

    def inside_channels(self, channels_in: int, channels_out: int) -> int:
        """Return the channels of what ``inside`` is given, of a block that leaves ``channels_out``."""
        return channels_in if self.inside_in_front else channels_out

    def block(self, x: Tensor) -> Tensor:
        """Map ``(N, C, ...)`` to ``(N, C', ...)``, without what is around."""
        raise NotImplementedError

    def forward(self, x: Tensor, *context: Any) -> Tensor:
        """Map ``(N, C, ...)`` to ``(N, C', ...)``; ``context`` is for what connects frames."""
        around = [self.before, self.inside, self.behind]
        ahead = 2 if self.inside_in_front else 1
        for module in around[:ahead]:
            x = x if module is None else module(x, *context)
        x = self.block(x)
        for module in around[ahead:]:
            x = x if module is None else module(x, *context)
        return x


class Residual(Connected):
    """A block around a shortcut. ``downsample`` is the shortcut where the input has not the block's shape."""

    inside_in_front = True

    def __init__(self, downsample: nn.Module | None) -> None:
        super().__init__()
        self.relu: nn.Module = nn.ReLU(inplace=True)
        self.downsample = downsample

    def residual(self, x: Tensor) -> Tensor:
        """Map ``(N, C, ...)`` to ``(N, C', ... / stride)``, without the last ReLU."""
        raise NotImplementedError

    def forward(self, x: Tensor, *context: Any) -> Tensor:
        """Map ``(N, C, ...)`` to ``(N, C', ... / stride)``; ``context`` is for what connects frames."""
        if self.before is not None:
            x = self.before(x, *context)
        out = self.residual(x if self.inside is None else self.inside(x, *context))
        out += x if self.downsample is None else self.downsample(x)
        result: Tensor = self.relu(out)
        return result if self.behind is None else self.behind(result, *context)


class BasicBlock(Residual):
    """Two convolutions of one ``kernel``, factored if ``over_time`` is given."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: Size,
        stride: Size,
        kind: str = "B",
        over_time: OverTime | None = None,
    ) -> None:
        super().__init__(shortcut(kind, channels_in, channels_out, stride))
        norm, one = NORMS[len(kernel)], (1,) * len(kernel)
        self.conv1, self.time1 = factored(channels_in, channels_out, kernel, stride, 1, over_time)
        self.bn1 = norm(channels_out)
        self.conv2, self.time2 = factored(channels_out, channels_out, kernel, one, 1, over_time)
        self.bn2 = norm(channels_out)

    def residual(self, x: Tensor) -> Tensor:
        """Map ``(N, C, ...)`` to ``(N, C', ... / stride)``, without the last ReLU."""
        x = self.bn1(self.conv1(x))
        x = self.relu(x if self.time1 is None else self.time1(x))
        out: Tensor = self.bn2(self.conv2(x))
        return out if self.time2 is None else self.time2(out)


class Bottleneck(Residual):
    """A convolution of ``kernel``, in ``groups``, factored if ``over_time`` is given, between two of size 1.

    The one in the middle is on ``middle`` channels.
    """

    def __init__(
        self,
        channels_in: int,
        middle: int,
        channels_out: int,
        kernel: Size,
        stride: Size,
        groups: int = 1,
        kind: str = "B",
        over_time: OverTime | None = None,
    ) -> None:
        super().__init__(shortcut(kind, channels_in, channels_out, stride))
        norm, one = NORMS[len(kernel)], (1,) * len(kernel)
        self.conv1 = convolution(channels_in, middle, one, one)
        self.bn1 = norm(middle)
        self.conv2, self.time2 = factored(middle, middle, kernel, stride, groups, over_time)
        self.bn2 = norm(middle)
        self.conv3 = convolution(middle, channels_out, one, one)
        self.bn3 = norm(channels_out)

    def residual(self, x: Tensor) -> Tensor:
        """Map ``(N, C, ...)`` to ``(N, C', ... / stride)``, without the last ReLU."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x = self.relu(x if self.time2 is None else self.time2(x))
        out: Tensor = self.bn3(self.conv3(x))
        return out


class PathBottleneck(Bottleneck):
    """A bottleneck of ``(1, 3, 3)`` whose first convolution looks ``time`` frames far."""

    def __init__(self, channels_in: int, middle: int, channels_out: int, step: int, time: int) -> None:
        super().__init__(channels_in, middle, channels_out, (1, 3, 3), (1, step, step))
        self.conv1 = convolution(channels_in, middle, (time, 1, 1), (1, 1, 1))


def reducing(channels_in: int, channels_out: int, axes: int = 3) -> Bottleneck:
    """Return the block that the papers reduce SlowFast's features with: half as wide inside, 3 long in all ``axes``."""
    return Bottleneck(channels_in, max(1, channels_out // 2), channels_out, (3,) * axes, (1,) * axes)


def draw_convolutions(net: nn.Module, mode: Literal["fan_out", "fan_in"] = "fan_out") -> None:
    """Draw the weights of every convolution of ``net``, in place, on the scale of its outputs or of its inputs."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")


def stem(channels_in: int, channels_out: int, kernel: Size, pool: nn.Module | None) -> nn.Sequential:
    """Return the first layers: a convolution that halves H and W, and perhaps a ``pool``."""
    stride = (*(1,) * (len(kernel) - 2), 2, 2)
    first = convolution(channels_in, channels_out, kernel, stride)
    layers = (first, NORMS[len(kernel)](channels_out), nn.ReLU(inplace=True))
    return nn.Sequential(*layers) if pool is None else nn.Sequential(*layers, pool)


class ResidualTrunk(Backbone):
    """A stem, four stages of residual blocks, and a mapper where features were reduced by appending.

    Args:
        channels_in: C.
        stem: Maps ``(N, C, ...)`` to ``(N, widths[0], ...)``.
        blocks: Residual blocks of each of the four stages.
        widths: Channels after the stem and after each stage; F is the last of them.
        make_block: Called with the stage (0 to 3), the channels in and out, and the step between pixels (1 or 2).
    """

    def __init__(
        self,
        channels_in: int,
        stem: nn.Module,
        blocks: Sequence[int],
        widths: Sequence[int],
        make_block: Callable[[int, int, int, int], nn.Module],
    ) -> None:
        super().__init__()
        self.channels_in, self.widths = channels_in, tuple(widths)
        self.num_features = self.last_features = widths[-1]  # F, and what the last stage gives to it
        self.stem = stem
        for i, count in enumerate(blocks):
            first = make_block(i, widths[i], widths[i + 1], 1 if i == 0 else 2)
            rest = (make_block(i, widths[i + 1], widths[i + 1], 1) for _ in range(count - 1))
            self.add_module(f"layer{i + 1}", Stage(first, *rest))
        self.mapper: nn.Module | None = None
        draw_convolutions(self)

    def check_input(self, channels: int, frames: int, height: int, width: int) -> None:
        """Raise a ConfigError unless the clip has this network's channels; every length and size will do."""
        if channels != self.channels_in or min(frames, height, width) < 1:
            raise ConfigError(
                f"{type(self).__name__} takes clips of {self.channels_in} channels and of any length and size above 0, "
                f"got {channels} channels, {frames} frames of {width}x{height}."
            )

    def stages(self) -> list[nn.Module]:
        """Return the four stages in order."""
        return [self.get_submodule(f"layer{i}") for i in range(1, 5)]

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, F, T', H', W')``."""
        for part in (self.stem, *self.stages()):
            x_NCTHW = self.run(part, x_NCTHW)
        return x_NCTHW if self.mapper is None else self.run(self.mapper, x_NCTHW)

    def reduce_append(self, width: int) -> None:
        """Append a block (``mapper``) that leaves ``width`` features: FRAB."""
        self.mapper = self._reduction(self.num_features, width)
        self.num_features, self.reduced = width, ("mapper",)

    def reduce_replace(self, width: int) -> None:
        """Replace the last block by one that leaves ``width`` features: FRMB. Its trained weights are lost."""
        last = self.stages()[-1]
        assert isinstance(last, nn.Sequential)
        last[-1] = self._reduction(self.last_features, width)
        self.num_features += width - self.last_features
        self.last_features, self.reduced = width, (f"layer4.{len(last) - 1}",)

    def make_reduction(self, channels_in: int, channels_out: int) -> nn.Module:
        """Return the block of a feature reduction."""
        raise NotImplementedError

    def _reduction(self, channels_in: int, width: int) -> nn.Module:
        positive(width=width)
        block = self.make_reduction(channels_in, width)
        draw_convolutions(block, "fan_in")  # as published; the trunk's are by the outputs
        return block
