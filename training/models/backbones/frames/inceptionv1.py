"""Inception-V1 with batch norms, run on each frame of a clip, or with a temporal module in it.

Sources: "Going deeper with convolutions", CVPR 2015, arXiv:1409.4842, as torchvision has it; "Deep analysis of
CNN-based spatio-temporal representations for action recognition", CVPR 2021, arXiv:2010.11757, whose program this
follows: its inflated network (``conv3d``) has kernels of 7 frames first, and pools that look at three frames and are
padded; its factored one (``conv1d``) has 3 frames first, and a last pool of two frames without padding.

Axes: N batch, C channels, T frames, H height, W width, F features.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.arguments import positive, scaled
from kinebert.training.models.blocks import Connected, draw_convolutions, factored
from kinebert.training.models.inception import MIXED, Branches, Mixed, Unit, reduced
from kinebert.training.models.inputs import CENTERED, CENTERED_FLOW
from kinebert.training.models.interfaces import Backbone
from kinebert.training.models.registry import register_backbone
from kinebert.training.models.temporal.registry import Place, Temporal, takes_temporal

EPS = 1e-3
"""What batch norms add to a variance."""
_NORMS: dict[int, Callable[[int], nn.Module]] = {
    2: partial(nn.BatchNorm2d, eps=EPS),
    3: partial(nn.BatchNorm3d, eps=EPS),
}
_STAGES = (("conv1",), ("conv2", "conv3"), *(tuple(n for n in MIXED if n.startswith(f"mixed{i}")) for i in (3, 4, 5)))


class InceptionV1(Backbone):
    """Inception-V1 trunk without classifier: ``(N, C, T, H, W)`` to ``(N, F, T', H', W')``.

    T' is T, with temporal pooling T / 8, rounded up; H' and W' are H / 32 and W / 32. The factored network loses one
    time step more without pooling, and with it rounds the last half down, as its pools are published.

    Args:
        channels_in: C.
        width: Multiplier of every number of channels inside. F is 1024 times it.
        temporal: How it sees time.
    """

    def __init__(self, channels_in: int, width: float, temporal: Temporal) -> None:
        super().__init__()
        positive(width=width)
        self.channels_in, self.temporal = channels_in, temporal
        self.temporal_stride = 8 if temporal.pooling else 1
        narrow, wide = scaled(64, width), scaled(192, width)
        self.conv1 = _unit(temporal, channels_in, narrow, 7, 2)
        self.conv2 = _unit(temporal, narrow, narrow, 1)
        self.conv3 = _unit(temporal, narrow, wide, 3)
        sizes = {"conv1": (channels_in, narrow), "conv2": (narrow, narrow), "conv3": (narrow, wide)}
        self.num_features = wide
        for name, branches in MIXED.items():
            block = self._mixed(branches.scaled(width))
            sizes[name] = (block.channels_in, self.num_features)
            self.add_module(name, block)
        for i, stage in enumerate(_STAGES):
            for j, name in enumerate(stage):
                self._connect(name, *sizes[name], stage=i, index=j)
        self.pools = nn.ModuleList(_pool(temporal, i) for i in range(len(_STAGES) - 1))
        self.pool = temporal.pool()
        self.mapper: Mixed | None = None
        draw_convolutions(self)

    def _connect(self, name: str, channels_in: int, channels_out: int, stage: int, index: int) -> None:
        place = Place(name=name, stage=stage, index=index, longest=len(_STAGES[3]))
        block = self.get_submodule(name)
        assert isinstance(block, Connected)
        self.temporal.connect(block, channels_in, channels_out, place)

    def _mixed(self, branches: Branches) -> Mixed:
        before, self.num_features = self.num_features, branches.total
        pool = nn.MaxPool3d(3, 1, 1) if self.temporal.clips else nn.MaxPool2d(3, 1, 1)
        return Mixed(before, branches, partial(_unit, self.temporal), pool)

    def num_steps(self, clip_length: int) -> int:
        """Return the T' that is left of ``clip_length`` frames."""
        if not self.temporal.factored:
            return super().num_steps(clip_length)
        return -(-clip_length // 4) // 2 if self.temporal.pooling else clip_length - 1

    def check_input(self, channels: int, frames: int, height: int, width: int) -> None:
        """Raise a ConfigError unless the clip has this network's channels, and something of it is left by the pools."""
        pixels = 17 if self.temporal.factored else 1 if self.temporal.clips else 15
        fewest = 1 if not self.temporal.factored else 5 if self.temporal.pooling else 2
        if channels != self.channels_in or frames < fewest or min(height, width) < pixels:
            raise ConfigError(
                f"this Inception-V1 takes clips of {self.channels_in} channels, of {fewest} frames at least and of "
                f"{pixels}x{pixels} pixels at least, got {channels} channels, {frames} frames of {width}x{height}."
            )

    def reduce_append(self, width: int) -> None:
        """Append a block that leaves ``width`` features: FRAB."""
        before = self.num_features
        self.mapper = self._mixed(reduced(width))
        self.reduced = ("mapper",)
        self._connect("mapper", before, width, stage=len(_STAGES), index=0)

    def reduce_replace(self, width: int) -> None:
        """Put a block that leaves ``width`` features in place of the last one (FRMB), whose weights are lost."""
        last = _STAGES[-1][-1]
        block = self.get_submodule(last)
        assert isinstance(block, Mixed)
        self.num_features = block.channels_in
        self.add_module(last, self._mixed(reduced(width)))
        self.reduced = (last,)
        self._connect(last, block.channels_in, width, stage=len(_STAGES) - 1, index=1)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, F, T', H', W')``."""
        n = x_NCTHW.shape[0]
        x = self.temporal.enter(x_NCTHW)
        for i, stage in enumerate(_STAGES):
            for name in stage:
                x = self.run(self.get_submodule(name), x, n)
            if i < len(self.pools):
                x = self.pools[i](x)
            if self.pool is not None and i in _POOLED:
                x = self.pool(x, n)
        if self.mapper is not None:
            x = self.run(self.mapper, x, n)
        return self.temporal.leave(x, n)


_POOLED = (1, 2, 3)
"""Stages behind which time is halved."""


def _unit(temporal: Temporal, channels_in: int, channels_out: int, size: int, step: int = 1) -> Unit:
    whole = size > 3 and temporal.factored  # the first convolution is not factored
    frames = size if size > 3 and not temporal.factored else None
    kernel, stride = temporal.kernel(size, frames), temporal.stride(step)
    norm: Callable[[int], nn.Module] = _NORMS[len(kernel)]
    over_time = None if whole or size == 1 else temporal.over_time(norm, bias=True)
    conv, time = factored(channels_in, channels_out, kernel, stride, 1, over_time)
    return Unit(conv, norm(channels_out), time)


def _pool(temporal: Temporal, stage: int) -> nn.Module:
    """Return what halves the picture behind a stage."""
    last = stage == len(_STAGES) - 2
    if not temporal.clips:
        return nn.MaxPool2d(2 if last else 3, 2, ceil_mode=True)
    stride = temporal.stride(2, pools=stage in _POOLED)
    if last and temporal.factored:
        return nn.MaxPool3d(2, stride)
    frames = 3 if stage in _POOLED else 1
    return nn.MaxPool3d((frames, 3, 3), stride, (frames // 2, 1, 1))


@register_backbone(rgb=CENTERED, flow=CENTERED_FLOW, pose=CENTERED)
@takes_temporal
def inceptionv1(channels_in: int = 3, width: float = 1.0, *, temporal: Temporal) -> InceptionV1:
    """Inception-V1 with batch norms, GoogLeNet, run per frame."""
    return InceptionV1(channels_in, width, temporal)
