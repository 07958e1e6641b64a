"""Dense optical flow with duality-based TV-L1: one function, three solvers behind it."""

from kinebert.preprocessing.tvl1.params import PRESETS, TvL1Params
from kinebert.preprocessing.tvl1.solve import Backend, choose_backend, tvl1_flow

__all__ = ["PRESETS", "Backend", "TvL1Params", "choose_backend", "tvl1_flow"]
