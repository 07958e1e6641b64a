"""Convolutions of three dimensions: every one that looks at more than a pixel looks at frames as well.

Source: "Quo vadis, action recognition? A new model and the Kinetics dataset", CVPR 2017, arXiv:1705.07750.
"""

from kinebert.training.models.temporal.registry import TemporalModule, register_temporal


@register_temporal("conv3d")
def conv3d() -> TemporalModule:
    """Inflate the network: I3D."""
    return TemporalModule(clips=True)
