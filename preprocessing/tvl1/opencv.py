"""TV-L1 by OpenCV: the reference."""

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.tvl1.params import TvL1Params


def solve_opencv(grey_THW: NDArray[np.uint8], params: TvL1Params) -> NDArray[np.float32]:
    """Solve every pair of neighbouring frames with OpenCV's ``DualTVL1OpticalFlow``: ``(T - 1, 2, H, W)`` in pixels."""
    create: Any = cv2.optflow.DualTVL1OpticalFlow_create  # type: ignore[attr-defined] # stubs lack the contrib modules
    solver = create(  # one per call: calc() changes the solver's own settings
        tau=params.tau,
        lambda_=params.lambda_,
        theta=params.theta,
        nscales=params.nscales,
        warps=params.warps,
        epsilon=params.epsilon,
        innnerIterations=params.inner_iterations,  # OpenCV's own spelling
        outerIterations=params.outer_iterations,
        scaleStep=params.scale_step,
        gamma=0.0,
        medianFiltering=params.median_filtering,
    )
    t, h, w = grey_THW.shape
    fields_T2HW = np.empty((t - 1, 2, h, w), np.float32)
    for field_2HW, (first_HW, second_HW) in zip(fields_T2HW, pairwise(grey_THW), strict=True):
        field_2HW[:] = solver.calc(first_HW, second_HW, None).transpose(2, 0, 1)
    return fields_T2HW
