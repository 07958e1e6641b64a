"""TV-L1 on one level of the pyramid with plain torch operations: the same steps as the kernels, where those cannot run.

Every operation works on each pixel alone, and sums over a pair follow a fixed tree, so that the bits of a pair do not
depend on the batch it is in, nor on the number of threads.

Axes: B pairs, H height, W width, 2 components of flow (x, y), 3 planes (image, x gradient, y gradient), 4 dual
variables (along x and y of the first component, then of the second).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from kinebert.preprocessing.tvl1.gpu.level import LevelParams
from kinebert.preprocessing.tvl1.networks import median_network

_PAD = 4
_TINY = 1.1920929e-07  # a gradient whose square is below float's epsilon is none: OpenCV's threshold


class Linearised(NamedTuple):
    """The data term around the flow of the last warp: ``constant + gradient . flow`` grey levels of difference."""

    gradient: Tensor
    """Grey levels per pixel, ``(B, 2, H, W)``."""
    constant: Tensor
    """Grey levels, ``(B, H, W)``."""
    inverse: Tensor
    """``-1 / |gradient|^2``, or 0 where there is no gradient, ``(B, H, W)``."""


def solve_level(
    first_BHW: Tensor, second_B3HW: Tensor, flow_B2HW: Tensor, params: LevelParams, look_every: int | None = None
) -> Tensor:
    """Improve the flow of every pair on one level.

    Args:
        first_BHW: The first images.
        second_B3HW: The second images and their gradients.
        flow_B2HW: Flow to start from, pixels of this level.
        params: Settings of this level.
        look_every: Iterations between looks at who has stopped. Pairs that have stand still until then; the result does
            not depend on it. By default 1 on a CPU, where looking is free, and 10 elsewhere.

    Returns:
        The flow, in a new tensor.
    """
    look_every = look_every or (1 if flow_B2HW.device.type == "cpu" else 10)
    b, _, h, w = flow_B2HW.shape
    dual_B4HW = torch.zeros((b, 4, h, w), dtype=params.dual_dtype, device=flow_B2HW.device)
    for i in range(params.warps):
        linear = linearise(first_BHW, second_B3HW, flow_B2HW)
        flow_B2HW, dual_B4HW = _solve_warp(flow_B2HW, dual_B4HW, linear, params, look_every, is_first=i == 0)
    return flow_B2HW


def _solve_warp(
    flow_B2HW: Tensor, dual_B4HW: Tensor, linear: Linearised, params: LevelParams, look_every: int, is_first: bool
) -> tuple[Tensor, Tensor]:
    """Iterate until every pair has stopped; pairs that have are taken out of the batch."""
    flow_out, dual_out = torch.empty_like(flow_B2HW), torch.empty_like(dual_B4HW)
    pairs = torch.arange(len(flow_B2HW), device=flow_B2HW.device)
    runs_B = torch.ones_like(pairs, dtype=torch.bool)
    for i in range(params.outer_iterations):
        source_B2HW = median(flow_B2HW, params.median_filtering)
        for j in range(params.inner_iterations):
            has_dual = not (is_first and i == j == 0)
            new_B2HW, new_B4HW, change_B = step(source_B2HW, flow_B2HW, dual_B4HW, linear, params, has_dual)
            if look_every > 1:
                stands_B111 = ~runs_B[:, None, None, None]
                new_B2HW = torch.where(stands_B111, flow_B2HW, new_B2HW)
                new_B4HW = torch.where(stands_B111, dual_B4HW, new_B4HW)
            flow_B2HW, dual_B4HW = new_B2HW, new_B4HW
            runs_B = runs_B & (change_B > params.threshold)
            looks = (j + 1) % look_every == 0 or j + 1 == params.inner_iterations
            if looks and not runs_B.all():
                stopped = pairs[~runs_B]
                flow_out[stopped], dual_out[stopped] = flow_B2HW[~runs_B], dual_B4HW[~runs_B]
                pairs, flow_B2HW, dual_B4HW = pairs[runs_B], flow_B2HW[runs_B], dual_B4HW[runs_B]
                linear = Linearised(*(plane[runs_B] for plane in linear))
                if not len(pairs):
                    return flow_out, dual_out
                runs_B = runs_B[runs_B]
            source_B2HW = flow_B2HW
    flow_out[pairs], dual_out[pairs] = flow_B2HW, dual_B4HW
    return flow_out, dual_out


def step(
    source_B2HW: Tensor,
    flow_B2HW: Tensor,
    dual_B4HW: Tensor,
    linear: Linearised,
    params: LevelParams,
    has_dual: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """One iteration: the dual variables follow ``flow``, then the flow follows them from ``source``.

    Returns:
        The new flow, the new dual variables and the sum of squared change of each pair, square pixels.
    """
    is_int16 = params.dual_dtype == torch.int16
    exact_B4HW = dual_B4HW.float() * (1 / params.dual_scale) if is_int16 else dual_B4HW
    if has_dual:
        exact_B4HW = dual_step(flow_B2HW, exact_B4HW, params.dual_step)
    new_B2HW, change_B = primal_step(source_B2HW, exact_B4HW, linear, params.tau, params.limit)
    kept_B4HW = (exact_B4HW * params.dual_scale).round().to(torch.int16) if is_int16 else exact_B4HW
    return new_B2HW, kept_B4HW, change_B


def dual_step(flow_B2HW: Tensor, dual_B4HW: Tensor, step_size: float) -> Tensor:
    """Move the dual variables (scaled by ``theta / tau``) along the forward differences of the flow."""
    x_B2HW = F.pad(flow_B2HW[..., 1:] - flow_B2HW[..., :-1], (0, 1))
    y_B2HW = F.pad(flow_B2HW[..., 1:, :] - flow_B2HW[..., :-1, :], (0, 0, 0, 1))
    shrink_B2HW = 1 / (torch.sqrt(x_B2HW * x_B2HW + y_B2HW * y_B2HW) * step_size + 1)
    slopes_B22HW = torch.stack([x_B2HW, y_B2HW], dim=2)
    return (dual_B4HW + slopes_B22HW.flatten(1, 2)) * shrink_B2HW.repeat_interleave(2, dim=1)


def primal_step(
    source_B2HW: Tensor, dual_B4HW: Tensor, linear: Linearised, tau: float, limit: float
) -> tuple[Tensor, Tensor]:
    """Add the divergence of the dual variables and the thresholded data term to the flow."""
    x_B2HW, y_B2HW = dual_B4HW[:, 0::2], dual_B4HW[:, 1::2]
    divergence_B2HW = (x_B2HW - F.pad(x_B2HW, (1, 0))[..., :-1]) + (y_B2HW - F.pad(y_B2HW, (0, 0, 1, 0))[..., :-1, :])
    fit_B2HW = linear.gradient * source_B2HW
    residual_BHW = (linear.constant + fit_B2HW[:, 0]) + fit_B2HW[:, 1]
    pull_BHW = (residual_BHW * linear.inverse).clamp(-limit, limit)
    change_B2HW = divergence_B2HW * tau + pull_BHW[:, None] * linear.gradient
    return source_B2HW + change_B2HW, sum_of_each((change_B2HW * change_B2HW).flatten(1))


def sum_of_each(values_BN: Tensor) -> Tensor:
    """Sum the rows by folding them in halves; overwrites ``values_BN``.

    ``Tensor.sum`` splits its work by the number of rows and threads, and with it the order of additions.
    """
    count = values_BN.shape[1]
    half = 1 << (count - 1).bit_length() - 1 if count > 1 else 1
    while count > 1:
        values_BN[:, : count - half] += values_BN[:, half:count]
        count, half = half, half // 2
    return values_BN[:, 0]


def linearise(first_BHW: Tensor, second_B3HW: Tensor, flow_B2HW: Tensor) -> Linearised:
    """Warp the second images by the flow and write the difference to the first as a linear function of the flow."""
    warped_B3HW = warp(second_B3HW, flow_B2HW)
    gradient_B2HW = warped_B3HW[:, 1:]
    fit_B2HW = gradient_B2HW * flow_B2HW
    constant_BHW = ((warped_B3HW[:, 0] - fit_B2HW[:, 0]) - fit_B2HW[:, 1]) - first_BHW
    x_BHW, y_BHW = gradient_B2HW[:, 0], gradient_B2HW[:, 1]
    square_BHW = x_BHW * x_BHW + y_BHW * y_BHW
    inverse_BHW = torch.where(square_BHW > _TINY, -1 / square_BHW, torch.zeros_like(square_BHW))
    return Linearised(gradient_B2HW, constant_BHW, inverse_BHW)


def warp(image_B3HW: Tensor, flow_B2HW: Tensor) -> Tensor:
    """Sample the images at ``pixel + flow`` with Keys' cubic (a = -0.75); outside of the image they are 0."""
    b, _, h, w = image_B3HW.shape
    x_floor_BHW, x_weights = _taps(flow_B2HW[:, 0] + torch.arange(w, device=flow_B2HW.device), w)
    y_floor_BHW, y_weights = _taps(flow_B2HW[:, 1] + torch.arange(h, device=flow_B2HW.device)[:, None], h)
    padded_BHW3 = F.pad(image_B3HW, (_PAD,) * 4).permute(0, 2, 3, 1).contiguous()
    stride = w + 2 * _PAD
    origin_BHW = (y_floor_BHW + (_PAD - 1)) * stride + (x_floor_BHW + (_PAD - 1))
    origin_BHW += (torch.arange(b, device=flow_B2HW.device) * (stride * (h + 2 * _PAD)))[:, None, None]
    rows_N3, origin_N = padded_BHW3.view(-1, 3), origin_BHW.view(-1)
    total_N3 = torch.zeros_like(rows_N3[:1])
    for i, y_weight_BHW in enumerate(y_weights):
        line_N3 = torch.zeros_like(rows_N3[:1])
        for j, x_weight_BHW in enumerate(x_weights):
            line_N3 = line_N3 + rows_N3.index_select(0, origin_N + (i * stride + j)) * x_weight_BHW.view(-1, 1)
        total_N3 = total_N3 + line_N3 * y_weight_BHW.view(-1, 1)
    return total_N3.view(b, h, w, 3).permute(0, 3, 1, 2)


def _taps(position: Tensor, size: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the pixel below each position and the weights of the four pixels around it."""
    position = position.clamp(-3, size + 1)  # from there on all four lie outside
    floor = position.floor()
    t = position - floor
    r = 1 - t
    before = t * (r * r) * -0.75
    near = (t * 1.25 - 2.25) * (t * t) + 1
    far = (r * 1.25 - 2.25) * (r * r) + 1
    return floor.long(), (before, near, far, ((1 - before) - near) - far)


def median(flow_B2HW: Tensor, side: int) -> Tensor:
    """Filter both components with a median of ``side x side`` pixels; the border is repeated."""
    if side == 1:
        return flow_B2HW
    network = median_network(side)
    h, w = flow_B2HW.shape[-2:]
    padded = F.pad(flow_B2HW, (side // 2,) * 4, mode="replicate")
    rows = [padded[..., i : i + h, :] for i in range(side)]
    for low, high, _, _ in network.column:
        rows[low], rows[high] = torch.minimum(rows[low], rows[high]), torch.maximum(rows[low], rows[high])
    wires = [rows[i // side][..., i % side : i % side + w] for i in range(side * side)]
    for low, high, keep_low, keep_high in network.window:
        a, b = wires[low], wires[high]
        if keep_low:
            wires[low] = torch.minimum(a, b)
        if keep_high:
            wires[high] = torch.maximum(a, b)
    return wires[network.median]
