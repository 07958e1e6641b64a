"""The representation flow layer: TV-L1 optical flow between maps of features, with every constant learned.

Source: "Representation flow for action recognition", CVPR 2019, arXiv:1810.01455, section 3, and its authors' program,
whose layer this is: a map is reduced to few channels and scaled to 255, flow is found between its frames by a fixed
number of steps, expanded to the channels of the map, normalised and added to it. As there, kernels of gradients and of
the divergence join all channels, those of flow's gradients are both vertical, and the scale is negative.

Axes: N batch, C channels, T frames, H height, W width, D reduced channels, E is 2 D, B pairs of frames, G the two parts
of flow, the horizontal one first.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinebert.preprocessing.lookup import find
from kinebert.training.models.arguments import within
from kinebert.training.models.blocks import convolution

TINY = 1e-12
"""What keeps roots and quotients from zero, as published."""
EXTENTS: Mapping[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "clip": lambda x_NDTHW: (x_NDTHW.amin((1, 2, 3, 4), keepdim=True), x_NDTHW.amax((1, 2, 3, 4), keepdim=True)),
    "batch": lambda x_NDTHW: (x_NDTHW.amin(), x_NDTHW.amax()),
}
"""Over what the least and the largest value are found: each clip, or as published all clips that are fed at once."""
MOST_ITERATIONS = 100


def _kernel(values: tuple[float, ...], channels: int, vertical: bool) -> nn.Parameter:
    shape = (1, 1, -1, 1) if vertical else (1, 1, 1, -1)
    return nn.Parameter(torch.tensor(values).view(shape).repeat(channels, channels, 1, 1))


class RepresentationFlow(nn.Module):
    """Maps of T frames plus the flow between them: ``(N, C, T, H, W)`` to ``(N, C, T - 1, H, W)``.

    Args:
        channels: C.
        reduced: D, in which flow is found.
        iterations: Steps of the solver.
        normalize: Key of :data:`EXTENTS`.
    """

    def __init__(self, channels: int, reduced: int, iterations: int, normalize: str) -> None:
        super().__init__()
        within(1, MOST_ITERATIONS, flow_iterations=iterations)
        self.extent = find(EXTENTS, normalize, "choice of flow_normalize")
        self.iterations = iterations
        self.reduce = convolution(channels, reduced, (1, 1, 1), (1, 1, 1))
        self.image_x, self.image_y = (_kernel((-0.5, 0.0, 0.5), reduced, vertical) for vertical in (False, True))
        self.flow_x, self.flow_y, self.divergence_x, self.divergence_y = (
            _kernel((-1.0, 1.0), reduced, True) for _ in range(4)
        )
        self.theta, self.attachment, self.tau = (nn.Parameter(torch.tensor([start])) for start in (0.3, 0.15, 0.25))
        self.expand = convolution(2 * reduced, channels, (1, 1, 1), (1, 1, 1))
        self.norm = nn.BatchNorm3d(channels)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, C, T - 1, H, W)``; T, H and W are 2 at least."""
        device = x_NCTHW.device.type
        if device != "meta" and torch.is_autocast_enabled(device):  # thresholds and sums of sums: half is too coarse
            with torch.autocast(device, enabled=False):
                return self._added(x_NCTHW.float())
        return self._added(x_NCTHW)

    def _added(self, x_NCTHW: Tensor) -> Tensor:
        x_NDTHW = self.reduce(x_NCTHW)
        low, high = self.extent(x_NDTHW)
        x_NTDHW = (255 * (low - x_NDTHW) / (high - low).clamp_min(TINY)).transpose(1, 2)
        n, t = x_NTDHW.shape[0], x_NTDHW.shape[1] - 1
        flow_GBDHW = self._solve(x_NTDHW[:, :-1].flatten(0, 1), x_NTDHW[:, 1:].flatten(0, 1))
        flow_BEHW = torch.cat([*flow_GBDHW], dim=1)
        flow_NCTHW = self.norm(self.expand(flow_BEHW.reshape(n, t, *flow_BEHW.shape[1:]).transpose(1, 2)))
        return functional.relu(x_NCTHW[:, :, :-1] + flow_NCTHW)

    def _solve(self, x_BDHW: Tensor, y_BDHW: Tensor) -> Tensor:
        """Return the flow ``(2, B, D, H, W)`` from each ``x`` to its ``y``."""
        threshold, step = self.attachment * self.theta, self.tau / self.theta
        slope_GBDHW = torch.stack(self._image_gradient(x_BDHW, y_BDHW))
        steepness = (slope_GBDHW**2).sum(0) + TINY
        flow_GBDHW = torch.zeros_like(slope_GBDHW)
        dual_x = dual_y = torch.zeros_like(slope_GBDHW)
        for _ in range(self.iterations):
            rho = y_BDHW - x_BDHW + (slope_GBDHW * flow_GBDHW).sum(0) + TINY
            inside = torch.where(steepness > TINY, -rho / steepness, 0.0)
            scale = torch.where(rho < -threshold * steepness, threshold, inside)
            scale = torch.where(rho > threshold * steepness, -threshold, scale)
            nearer_GBDHW = flow_GBDHW + scale * slope_GBDHW
            flow_GBDHW = nearer_GBDHW + self.theta * self._divergence(dual_x, dual_y)
            along_x, along_y = self._flow_gradient(flow_GBDHW)
            length = 1 + step * torch.sqrt(along_x**2 + along_y**2 + TINY)
            dual_x, dual_y = (dual_x + step * along_x) / length, (dual_y + step * along_y) / length
        return flow_GBDHW

    def _image_gradient(self, x_BDHW: Tensor, y_BDHW: Tensor) -> tuple[Tensor, Tensor]:
        along_x = functional.conv2d(functional.pad(y_BDHW, (1, 1)), self.image_x)
        along_y = functional.conv2d(functional.pad(y_BDHW, (0, 0, 1, 1)), self.image_y)
        left, right = x_BDHW[..., 1:2] - x_BDHW[..., :1], x_BDHW[..., -1:] - x_BDHW[..., -2:-1]
        top, bottom = x_BDHW[..., 1:2, :] - x_BDHW[..., :1, :], x_BDHW[..., -1:, :] - x_BDHW[..., -2:-1, :]
        return (
            torch.cat([0.5 * left, along_x[..., 1:-1], 0.5 * right], dim=3),
            torch.cat([0.5 * top, along_y[..., 1:-1, :], 0.5 * bottom], dim=2),
        )

    def _flow_gradient(self, flow_GBDHW: Tensor) -> tuple[Tensor, Tensor]:
        both = _each(_below(flow_GBDHW), torch.cat([self.flow_x, self.flow_y]))
        along_x, along_y = _below(both[..., :-1, :]).chunk(2, dim=2)  # nothing changes at the last row
        return along_x, along_y

    def _divergence(self, dual_x: Tensor, dual_y: Tensor) -> Tensor:
        duals = functional.pad(torch.cat([dual_x, dual_y], dim=2)[..., :-1, :], (0, 0, 1, 1))
        return _each(duals, torch.cat([self.divergence_x, self.divergence_y], dim=1))


def _below(maps: Tensor) -> Tensor:
    """Put a row of zeros below every map."""
    return functional.pad(maps, (0, 0, 0, 1))


def _each(x_GBDHW: Tensor, kernel: Tensor) -> Tensor:
    """Convolve the maps of both parts of the flow."""
    out = functional.conv2d(x_GBDHW.flatten(0, 1), kernel)
    return out.reshape(*x_GBDHW.shape[:2], *out.shape[1:])
