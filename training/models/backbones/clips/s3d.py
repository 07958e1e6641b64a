"""S3D: Inception-V1 for clips, each convolution one of pictures and one over time.

Source: "Rethinking spatiotemporal feature learning: speed-accuracy trade-offs in video classification", ECCV 2018,
arXiv:1712.04851, without gates, as torchvision has it. The one of "Deep analysis of CNN-based spatio-temporal
representations" is ``inceptionv1`` with ``temporal = "conv1d"``: it halves time elsewhere.

Axes: N batch, C channels, T frames, H height, W width, F features.
"""

from functools import partial

from torch import Tensor, nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.blocks import draw_convolutions, factored
from kinebert.training.models.inception import MIXED, Branches, Mixed, Unit, reduced
from kinebert.training.models.inputs import FLOW, KINETICS
from kinebert.training.models.interfaces import Backbone
from kinebert.training.models.registry import register_backbone
from kinebert.training.models.temporal.conv1d import over_time

FEWEST_FRAMES, FEWEST_PIXELS = 5, 17
"""Of a clip of which the last pool, which is not padded, leaves something."""
_norm = partial(nn.BatchNorm3d, eps=1e-3, momentum=1e-3)


def unit(channels_in: int, channels_out: int, size: int, step: int = 1) -> Unit:
    """Return a convolution, factored if it is larger than a pixel, with its norms and ReLUs."""
    kernel, stride = (size,) * 3, (step,) * 3
    factor = None if size == 1 else over_time(_norm, bias=False)
    conv, time = factored(channels_in, channels_out, kernel, stride, 1, factor)
    return Unit(conv, _norm(channels_out), time)


class S3d(Backbone):
    """S3D trunk without classifier: ``(N, C, T, H, W)`` to ``(N, F, T / 8, H / 32, W / 32)``.

    Halved five times in H and W and three times in T; the last time is rounded down, the others up.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside. F is 1024 times it.
    """

    temporal_stride = 8
    mixed5c: Mixed

    def __init__(self, channels_in: int, width: float) -> None:
        super().__init__()
        positive(width=width)
        self.channels_in = channels_in
        narrow, wide = scaled(64, width), scaled(192, width)
        self.conv1 = unit(channels_in, narrow, 7, 2)
        self.pool1 = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.conv2 = unit(narrow, narrow, 1)
        self.conv3 = unit(narrow, wide, 3)
        self.num_features = wide
        pools = {
            "mixed3b": nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            "mixed4b": nn.MaxPool3d(3, 2, 1),
            "mixed5b": nn.MaxPool3d(2, 2),
        }
        for name, branches in MIXED.items():
            if name in pools:
                self.add_module(f"pool{name[5]}", pools[name])
            self.add_module(name, self._mixed(branches.scaled(width)))
        draw_convolutions(self)

    def _mixed(self, branches: Branches) -> Mixed:
        before, self.num_features = self.num_features, branches.total
        return Mixed(before, branches, unit, nn.MaxPool3d(3, 1, 1))

    def num_steps(self, clip_length: int) -> int:
        """Return the T' that is left of ``clip_length`` frames."""
        return -(-clip_length // 4) // 2

    def check_input(self, channels: int, frames: int, height: int, width: int) -> None:
        """Raise a ConfigError unless the clip has this network's channels, and something of it is left by the pools."""
        if channels != self.channels_in or frames < FEWEST_FRAMES or min(height, width) < FEWEST_PIXELS:
            raise ConfigError(
                f"S3D takes clips of {self.channels_in} channels, of {FEWEST_FRAMES} frames at least and of "
                f"{FEWEST_PIXELS}x{FEWEST_PIXELS} pixels at least, got {channels} channels, {frames} frames of "
                f"{width}x{height}."
            )

    def reduce_append(self, width: int) -> None:
        """Append a block that leaves ``width`` features: FRAB."""
        self.mapper = self._mixed(reduced(width))
        self.reduced = ("mapper",)

    def reduce_replace(self, width: int) -> None:
        """Put a block that leaves ``width`` features in place of the last one (FRMB), whose weights are lost."""
        self.num_features = self.mixed5c.channels_in
        self.mixed5c = self._mixed(reduced(width))
        self.reduced = ("mixed5c",)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, F, T', H', W')``."""
        for stage in self.children():  # in the order of their names above, an appended block last
            x_NCTHW = self.run(stage, x_NCTHW)
        return x_NCTHW


@register_backbone(rgb=KINETICS, flow=FLOW, pose=KINETICS)
def s3d(channels_in: int = 3, width: float = 1.0) -> S3d:
    """S3D without gates."""
    return S3d(channels_in, width)
