"""Non-local blocks behind some blocks of the network: every position of a clip looks at every other.

Sources: "Non-local neural networks", CVPR 2018, arXiv:1711.07971; "TSM: temporal shift module for efficient video
understanding", ICCV 2019, arXiv:1811.08383, whose program puts five of them into a ResNet-50: scores are not scaled,
keys and values are halved in H and W by a maximum.

Axes: N clips, T frames, B = N x T, C channels, H height, W width.
"""

from functools import partial

from torch import Tensor, nn

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.non_local import NonLocal
from kinebert.training.models.temporal.registry import Place, TemporalModule, register_temporal
from kinebert.training.models.temporal.steps import as_clips

PUBLISHED = {2: (0, 2), 3: (0, 2, 4)}
"""Blocks of a stage, from 0, behind which the published ones stand, by stage."""


class FramesNonLocal(nn.Module):
    """A non-local block for frames in a batch, or for clips; positions are compared by half as many channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = NonLocal(channels, max(1, channels // 2), scale="none", pool="after")

    def forward(self, x: Tensor, clips: int) -> Tensor:
        """Map ``(N x T, C, H, W)`` to ``(N x T, C, H, W)``, or clips ``(N, C, T, H, W)`` to clips.

        Raises:
            ConfigError: If a picture is but a pixel high or wide, which cannot be halved.
        """
        if min(x.shape[-2:]) < 2:
            raise ConfigError(
                f"a non-local block is given maps of {x.shape[-1]}x{x.shape[-2]}, and needs 2x2: take larger pictures, "
                "or name an earlier block in nonlocal_blocks."
            )
        out_NCTHW: Tensor = self.block(x if x.ndim == 5 else as_clips(x, clips).transpose(1, 2))
        return out_NCTHW if x.ndim == 5 else out_NCTHW.transpose(1, 2).flatten(0, 1)


@register_temporal("nonlocal")
def non_local(*, nonlocal_blocks: str = "") -> TemporalModule:
    """Add non-local blocks.

    Args:
        nonlocal_blocks: Names of the backbone's blocks behind which they stand, such as ``layer2.0 layer3.1``; none for
            the published places, which are five of a ResNet-50.
    """
    wanted = tuple(nonlocal_blocks.split())
    return TemporalModule(behind=partial(_behind, wanted), anywhere=True, named=wanted)


def _behind(wanted: tuple[str, ...], channels: int, place: Place) -> nn.Module | None:
    published = place.index in PUBLISHED.get(place.stage, ())
    return FramesNonLocal(channels) if (place.name in wanted if wanted else published) else None
