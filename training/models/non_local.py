"""The non-local block: every position of a map looks at all others, and what it sees is added to it.

Source: "Non-local neural networks", CVPR 2018, arXiv:1711.07971. Published implementations differ in how scores are
divided before the softmax, in whether they use one, and in where the positions that are looked at are thinned out.

Axes: N batch, F features, T time steps, H height, W width; P positions that look, Q positions that are looked at, D
inner features.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinebert.preprocessing.lookup import find
from kinebert.training.models.arguments import positive
from kinebert.training.models.blocks import Bottleneck, draw_convolutions


def _softmax(query_NPD: Tensor, key_NQD: Tensor, value_NQD: Tensor, scale: float) -> Tensor:
    """The mean of the values, weighted by the softmax of scaled scores."""
    query_N1PD, key_N1QD, value_N1QD = (x.unsqueeze(1) for x in (query_NPD, key_NQD, value_NQD))
    return functional.scaled_dot_product_attention(query_N1PD, key_N1QD, value_N1QD, scale=scale).squeeze(1)


def _dot_product(query_NPD: Tensor, key_NQD: Tensor, value_NQD: Tensor, scale: float) -> Tensor:
    """The mean of the values times the scores as they are."""
    del scale
    return torch.bmm(torch.bmm(query_NPD, key_NQD.transpose(1, 2)) / key_NQD.shape[1], value_NQD)


@dataclass(frozen=True)
class Weighing:
    """How positions weigh what they look at."""

    mix: Callable[[Tensor, Tensor, Tensor, float], Tensor]
    embedded: bool
    """Whether positions are compared by learned features rather than by those of the map."""


WEIGHINGS: Mapping[str, Weighing] = {
    "softmax": Weighing(_softmax, embedded=True),
    "gaussian": Weighing(_softmax, embedded=False),
    "dot_product": Weighing(_dot_product, embedded=True),
}
"""The paper's embedded Gaussian, Gaussian and dot product."""
SCALES: Mapping[str, Callable[[int, int], float]] = {
    "features": lambda features, _: features**-0.5,
    "positions": lambda _, positions: positions**-0.5,
    "none": lambda *_: 1.0,
}
"""What scores are multiplied by before a softmax, given D and P."""
POOLS = ("none", "before", "after")
"""Where 2 x 2 pixels that are looked at become their maximum: nowhere, before or after key and value are made."""


class NonLocal(nn.Module):
    """A non-local block with a batch norm. A fresh one changes nothing, so that what is around it keeps what it knows.

    Args:
        num_features: F.
        inner_width: D.
        weighing: Key of :data:`WEIGHINGS`.
        scale: Key of :data:`SCALES`.
        pool: One of :data:`POOLS`. H and W must then be 2 at least.
        output_bias: Whether the last convolution has a bias, for which the norm behind it leaves no use.
    """

    def __init__(
        self,
        num_features: int,
        inner_width: int,
        *,
        weighing: str = "softmax",
        scale: str = "features",
        pool: str = "none",
        output_bias: bool = True,
    ) -> None:
        super().__init__()
        positive(inner_width=inner_width)
        self.weighing = find(WEIGHINGS, weighing, "weighing of a non-local block")
        self.scale = find(SCALES, scale, "scale of a non-local block")
        self.pooled = find({name: name for name in POOLS}, pool, "pool of a non-local block")
        self.pool = nn.MaxPool3d((1, 2, 2))

        def embedding() -> nn.Module:
            return nn.Conv3d(num_features, inner_width, 1) if self.weighing.embedded else nn.Identity()

        self.query, self.key = embedding(), embedding()
        self.value = nn.Conv3d(num_features, inner_width, 1)
        self.output = nn.Conv3d(inner_width, num_features, 1, bias=output_bias)
        self.norm = nn.BatchNorm3d(num_features)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x_NFTHW: Tensor) -> Tensor:
        """Map ``(N, F, T, H, W)`` to ``(N, F, T, H, W)``."""
        seen_NFTHW = self.pool(x_NFTHW) if self.pooled == "before" else x_NFTHW
        query, key, value = self.query(x_NFTHW), self.key(seen_NFTHW), self.value(seen_NFTHW)
        if self.pooled == "after":
            key, value = self.pool(key), self.pool(value)
        query_NPD, key_NQD, value_NQD = (x.flatten(2).transpose(1, 2) for x in (query, key, value))
        scale = self.scale(query_NPD.shape[2], query_NPD.shape[1])
        mixed_NPD = self.weighing.mix(query_NPD, key_NQD, value_NQD, scale)
        mixed_NDTHW = mixed_NPD.transpose(1, 2).reshape(x_NFTHW.shape[0], -1, *x_NFTHW.shape[2:])
        out_NFTHW: Tensor = x_NFTHW + self.norm(self.output(mixed_NDTHW))
        return out_NFTHW


FIVE = ((1, (1, 3)), (2, (1, 3, 5)))
"""Blocks, from 0, of the second and third stage behind which the published five stand in a network of 50 layers."""


def add_non_local(stages: Mapping[str, nn.Module], blocks: str, make: Callable[[int, int], NonLocal]) -> list[str]:
    """Put non-local blocks behind residual blocks, in place.

    Args:
        stages: The network's stages by name, each a sequence of residual blocks.
        blocks: Names such as ``layer2.1 layer3.5``; ``five`` for :data:`FIVE`, empty for none.
        make: Called with F and D, half of F.

    Returns:
        The names of the stages that have one now, in order.

    Raises:
        ConfigError: If there is no block of such a name.
    """
    known = {f"{name}.{i}": block for name, stage in stages.items() for i, block in enumerate(stage.children())}
    names = list(stages)
    five = [f"{names[stage]}.{i}" for stage, places in FIVE for i in places]
    wanted = five if blocks == "five" else blocks.split()
    for name in wanted:
        block = find(known, name, "block for a non-local one")
        assert isinstance(block, Bottleneck)
        channels: int = block.conv3.weight.shape[0]  # type: ignore[assignment, index]
        block.behind = make(channels, max(1, channels // 2))
        draw_convolutions(block.behind)
    return [name for name in names if any(one.startswith(f"{name}.") for one in wanted)]
