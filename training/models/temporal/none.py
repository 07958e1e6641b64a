"""No temporal module: frames do not see each other.

Source: "Temporal segment networks: towards good practices for deep action recognition", ECCV 2016, arXiv:1608.00859.
"""

from kinebert.training.models.temporal.registry import TemporalModule, register_temporal


@register_temporal("none")
def none() -> TemporalModule:
    """Run the network on each frame by itself: TSN."""
    return TemporalModule()
