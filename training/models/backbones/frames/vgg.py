"""VGG: convolutions of 3x3 in five stages, and two linear layers over what is left of a picture, run on each frame.

Sources: "Very deep convolutional networks for large-scale image recognition", ICLR 2015, arXiv:1409.1556, table 1,
configuration D. For videos: "Two-stream convolutional networks for action recognition in videos", NIPS 2014,
arXiv:1406.2199, and "Towards good practices for very deep two-stream ConvNets", arXiv:1507.02159: one stream is given a
frame, the other ten fields of flow as the channels of one picture.

Axes: N batch, C channels, T frames, H height, W width, F features; B = N x T.
"""

from typing import Any

from torch import Tensor, nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.blocks import Connected, draw_convolutions, factored
from kinebert.training.models.inputs import FLOW, IMAGENET
from kinebert.training.models.interfaces import Backbone
from kinebert.training.models.registry import register_backbone
from kinebert.training.models.temporal.registry import Place, Temporal, takes_temporal

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and convolutions of each stage, behind which a pool halves the picture."""
SIDE, LEFT = 224, 7
"""Pixels of the pictures that the linear layers are made for, and what five pools leave of them."""
HIDDEN = 4096
"""Features of the linear layers."""


class ConvUnit(nn.Module):
    """A convolution with a bias, perhaps what a factored one does over time, and a ReLU."""

    def __init__(self, channels_in: int, channels_out: int, temporal: Temporal) -> None:
        super().__init__()
        over_time = temporal.over_time(nn.Identity, bias=True)  # there are no norms in this network
        kernel, stride = temporal.kernel(3), temporal.stride(1)
        self.conv, self.time = factored(channels_in, channels_out, kernel, stride, 1, over_time, bias=True)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, ...)`` to ``(N, C', ...)``."""
        x = self.conv(x)
        out: Tensor = self.relu(x if self.time is None else self.time(x))
        return out


class ConvStage(Connected):
    """Convolutions with their ReLUs and a maximum over 2x2 pixels.

    Args:
        channels_in: C.
        channels_out: C'.
        count: Convolutions.
        temporal: Whether they are of pictures or of clips.
        pools: Whether clips are halved in time as well, if ``temporal`` pools.
    """

    inside_in_front = True

    def __init__(self, channels_in: int, channels_out: int, count: int, temporal: Temporal, pools: bool) -> None:
        super().__init__()
        channels = (channels_in, *(channels_out,) * (count - 1))
        self.convs = nn.Sequential(*(ConvUnit(number, channels_out, temporal) for number in channels))
        self.pool = _pool(temporal.stride(2, pools))

    def block(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` or ``(N, C, T, H, W)`` to the same with C' channels, half as high and wide."""
        out: Tensor = self.pool(self.convs(x))
        return out


def _pool(stride: tuple[int, ...]) -> nn.Module:
    if len(stride) == 2:
        return nn.MaxPool2d(2, 2)
    long = stride[0] > 1  # over time as frames in a batch are pooled: three of them, every second one
    return nn.MaxPool3d((3 if long else 1, 2, 2), stride, (1 if long else 0, 0, 0))


class Linears(nn.Module):
    """The two linear layers, each with a ReLU, on every frame: ``(N, C, T, 7, 7)`` to ``(N, F, T, 1, 1)``.

    Args:
        channels: C.
        hidden: Features of the first layer.
        features: F.
        dropout: Probability to drop a feature between the two.
    """

    def __init__(self, channels: int, hidden: int, features: int, dropout: float) -> None:
        super().__init__()
        self.first, self.dropout = nn.Linear(channels * LEFT**2, hidden), nn.Dropout(dropout)
        self.second, self.relu = nn.Linear(hidden, features), nn.ReLU(inplace=True)
        for layer in (self.first, self.second):
            draw(layer)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, 7, 7)`` to ``(N, F, T, 1, 1)``."""
        x_NTD = x_NCTHW.transpose(1, 2).flatten(2)
        x_NTF = self.relu(self.second(self.dropout(self.relu(self.first(x_NTD)))))
        out_NFTHW: Tensor = x_NTF.transpose(1, 2)[..., None, None]
        return out_NFTHW


class Mapper(nn.Module):
    """A further linear layer and a ReLU: ``(N, F, T, 1, 1)`` to ``(N, F', T, 1, 1)``."""

    def __init__(self, features_in: int, features: int) -> None:
        super().__init__()
        self.linear, self.relu = nn.Linear(features_in, features), nn.ReLU(inplace=True)
        draw(self.linear)

    def forward(self, x_NFTHW: Tensor) -> Tensor:
        """Map ``(N, F, T, 1, 1)`` to ``(N, F', T, 1, 1)``."""
        x_NTF = self.relu(self.linear(x_NFTHW[..., 0, 0].transpose(1, 2)))
        out_NFTHW: Tensor = x_NTF.transpose(1, 2)[..., None, None]
        return out_NFTHW


def draw(layer: nn.Linear) -> None:
    """Draw the weights of a linear layer that a ReLU follows."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)


class Vgg(Backbone):
    """VGG up to its last hidden layer, frame by frame: ``(N, C, T, 224, 224)`` to ``(N, F, T', 1, 1)``.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside. F is 4096 times it.
        fc_dropout: Probability to drop a feature between the linear layers.
        temporal: What connects frames: in front of each stage but the first, or in its convolutions. The linear
            layers see one frame each.
    """

    def __init__(self, channels_in: int, width: float, fc_dropout: float, temporal: Temporal) -> None:
        super().__init__()
        positive(width=width)
        if not 0 <= fc_dropout < 1:
            raise ConfigError(f"fc_dropout must be at least 0 and below 1, got {fc_dropout}.")
        self.channels_in, self.temporal, self.fc_dropout = channels_in, temporal, fc_dropout
        self.temporal_stride = 8 if temporal.pooling else 1
        self.time_pool = temporal.pool()
        self.stages = nn.ModuleList()
        channels = channels_in
        for i, (out, count) in enumerate(STAGES):
            stage = ConvStage(channels, scaled(out, width), count, temporal, pools=i >= 2)
            if i:  # the first is given pictures, in front of which nothing stands
                temporal.connect(stage, channels, scaled(out, width), Place(name=f"stages.{i}", stage=i, index=0))
            self.stages.append(stage)
            channels = scaled(out, width)
        self.num_features = scaled(HIDDEN, width)
        draw_convolutions(self)
        self.linears = Linears(channels, self.num_features, self.num_features, fc_dropout)
        self.mapper: nn.Module | None = None

    def check_input(self, channels: int, frames: int, height: int, width: int) -> None:
        """Raise a ConfigError unless the clip has this network's channels and the size that its linear layers fix."""
        if channels != self.channels_in or frames < 1 or (height, width) != (SIDE, SIDE):
            raise ConfigError(
                f"VGG's linear layers take pictures of {SIDE}x{SIDE} alone: its clips have {self.channels_in} channels "
                f"and any length above 0, got {channels} channels, {frames} frames of {width}x{height}."
            )

    def reduce_append(self, width: int) -> None:
        """Append a linear layer that leaves ``width`` features: FRAB."""
        positive(width=width)
        self.mapper = Mapper(self.num_features, width)
        self.num_features, self.reduced = width, ("mapper",)

    def reduce_replace(self, width: int) -> None:
        """Replace the second linear layer by one that leaves ``width`` features: FRMB. Its trained weights are lost."""
        positive(width=width)
        self.linears.second = nn.Linear(self.linears.second.in_features, width)
        draw(self.linears.second)
        self.num_features, self.reduced = width, ("linears.second",)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, F, T', 1, 1)``."""
        clips = x_NCTHW.shape[0]
        x: Any = self.temporal.enter(x_NCTHW)
        for i, stage in enumerate(self.stages):
            x = self.run(stage, x, clips)
            if i >= 2 and self.time_pool is not None:
                x = self.time_pool(x, clips)
        x_NCTHW = self.run(self.linears, self.temporal.leave(x, clips))
        return x_NCTHW if self.mapper is None else self.run(self.mapper, x_NCTHW)


@register_backbone(rgb=IMAGENET, flow=FLOW, pose=IMAGENET)
@takes_temporal
def vgg16(channels_in: int = 3, width: float = 1.0, *, temporal: Temporal, fc_dropout: float = 0.9) -> Vgg:
    """VGG with 16 layers, run per frame, of which the classifier is the last; ``fc_dropout`` is that of two streams."""
    return Vgg(channels_in, width, fc_dropout, temporal)
