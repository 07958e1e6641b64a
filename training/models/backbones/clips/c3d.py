"""C3D: convolutions of 3x3x3 and pools, and two linear layers.

Source: "Learning spatiotemporal features with 3D convolutional networks", ICCV 2015, arXiv:1412.0767, figure 3. Its
linear layers fc6 and fc7 belong to the network, and a classifier stands behind them. They take a map of 4x4 pixels,
which clips of 112 leave, and each of its time steps by itself: 16 frames leave one step, as published, 64 leave four.

Axes: N batch, C channels, T frames (after the pools: time steps), H height, W width, D what is left of a step.
"""

from torch import Tensor, nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.inputs import C3D, FLOW
from kinebert.training.models.interfaces import Backbone
from kinebert.training.models.registry import register_backbone

STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))
"""Channels of each convolution of each stage; a pool ends a stage."""
LINEAR = 4096
SIDE = 4
"""Height and width of the map that fc6 takes."""
LEAST, MOST = 96, 127
"""Pixels of clips that leave such a map."""
DROPPED = 0.5


class C3d(Backbone):
    """C3D without classifier: ``(N, C, T, H, W)`` to ``(N, F, T / 16, 1, 1)``, rounded down.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside. F is 4096 times it.
    """

    temporal_stride = 16

    def __init__(self, channels_in: int, width: float) -> None:
        super().__init__()
        positive(width=width)
        self.channels_in = channels_in
        self.stages = nn.ModuleList()
        for i, stage in enumerate(STAGES):
            layers: list[nn.Module] = []
            for channels in (scaled(channels, width) for channels in stage):
                layers += [nn.Conv3d(channels_in, channels, 3, padding=1), nn.ReLU(inplace=True)]
                channels_in = channels
            last = i == len(STAGES) - 1
            pool = nn.MaxPool3d((1 if i == 0 else 2, 2, 2), padding=(0, 1, 1) if last else 0)
            self.stages.append(nn.Sequential(*layers, pool))
        self.num_features = self.hidden = scaled(LINEAR, width)
        self.fc6 = nn.Sequential(
            nn.Linear(channels_in * SIDE * SIDE, self.hidden), nn.ReLU(inplace=True), nn.Dropout(DROPPED)
        )
        self.fc7 = _linear(self.hidden, self.hidden)
        self.mapper: nn.Module | None = None
        _draw(self)

    def num_steps(self, clip_length: int) -> int:
        """Return the T' that is left of ``clip_length`` frames."""
        return clip_length // self.temporal_stride

    def check_input(self, channels: int, frames: int, height: int, width: int) -> None:
        """Raise a ConfigError unless the clip leaves what the linear layers take."""
        sides = min(height, width), max(height, width)
        if channels != self.channels_in or frames < self.temporal_stride or sides[0] < LEAST or sides[1] > MOST:
            raise ConfigError(
                f"C3D takes clips of {self.channels_in} channels, of {self.temporal_stride} frames at least, and of "
                f"112 pixels ({LEAST} to {MOST} leave the map that its linear layers take), got {channels} channels, "
                f"{frames} frames of {width}x{height}."
            )

    def reduce_append(self, width: int) -> None:
        """Append a linear layer that leaves ``width`` features: FRAB."""
        self.mapper = _draw(_linear(self.num_features, width))
        self.num_features, self.reduced = width, ("mapper",)

    def reduce_replace(self, width: int) -> None:
        """Replace fc7 by a linear layer that leaves ``width`` features: FRMB. Its trained weights are lost."""
        self.fc7 = _draw(_linear(self.hidden, width))
        self.num_features, self.reduced = width, ("fc7",)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, F, T', 1, 1)``."""
        for stage in self.stages:
            x_NCTHW = self.run(stage, x_NCTHW)
        x_NTD = x_NCTHW.transpose(1, 2).flatten(2)
        for layer in (self.fc6, self.fc7, self.mapper):
            x_NTD = x_NTD if layer is None else self.run(layer, x_NTD)
        return x_NTD.transpose(1, 2)[..., None, None]


def _linear(features_in: int, features_out: int) -> nn.Module:
    return nn.Sequential(nn.Linear(features_in, features_out), nn.ReLU(inplace=True))


def _draw(net: nn.Module) -> nn.Module:
    for module in net.modules():
        if isinstance(module, nn.Conv3d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    return net


@register_backbone(rgb=C3D, flow=FLOW, pose=C3D)
def c3d(channels_in: int = 3, width: float = 1.0) -> C3d:
    """C3D with eight convolutions and two linear layers; its clips are of 112 pixels."""
    return C3d(channels_in, width)
