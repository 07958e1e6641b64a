"""Dense optical flow with duality-based TV-L1: one function, the solvers behind it."""

from preprocessing.tvl1.params import TvL1Params
from preprocessing.tvl1.solve import tvl1_flow

__all__ = ["TvL1Params", "tvl1_flow"]
