"""TAM: each channel is filtered over the frame before, the frame itself and the one after.

Source: "More is less: learning efficient video representations by big-little network and depthwise temporal
aggregation", NeurIPS 2019, arXiv:1912.00869, as its authors have it in "Deep analysis of CNN-based spatio-temporal
representations for action recognition", arXiv:2010.11757: three weights a channel, their sum, a ReLU.

Axes: N clips, T frames, B = N x T, C channels, H height, W width.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from kinebert.training.models.temporal.registry import Place, TemporalModule, register_temporal
from kinebert.training.models.temporal.steps import as_clips


def temporal_filter(x_NTCHW: Tensor, previous_C11: Tensor, current_C11: Tensor, following_C11: Tensor) -> Tensor:
    """Return the sum of the frames before, at and after each step, each channel times its weights."""
    weights = previous_C11, current_C11, following_C11
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x_NTCHW, *weights)):
        filtered: Tensor = _Filter.apply(x_NTCHW, *weights)  # type: ignore[no-untyped-call]
        return filtered
    return _filtered(x_NTCHW, *weights)


def _filtered(x_NTCHW: Tensor, previous_C11: Tensor, current_C11: Tensor, following_C11: Tensor) -> Tensor:
    out_NTCHW = x_NTCHW * current_C11
    out_NTCHW[:, 1:].addcmul_(x_NTCHW[:, :-1], previous_C11)
    out_NTCHW[:, :-1].addcmul_(x_NTCHW[:, 1:], following_C11)
    return out_NTCHW


class _Filter(torch.autograd.Function):
    """The filter with gradients of its own: torch's for the sums in place copy the whole map for each of them."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        """Filter, and keep what the gradients need."""
        ctx.save_for_backward(*tensors)
        return _filtered(*tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NTCHW: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the frames and of the three weights."""
        x_NTCHW, previous_C11, current_C11, following_C11 = ctx.saved_tensors
        grads: list[Tensor | None] = [None] * 4
        if ctx.needs_input_grad[0]:
            grads[0] = _filtered(grad_NTCHW, following_C11, current_C11, previous_C11)
        pairs = ((x_NTCHW[:, :-1], grad_NTCHW[:, 1:]), (x_NTCHW, grad_NTCHW), (x_NTCHW[:, 1:], grad_NTCHW[:, :-1]))
        for i, (value, grad) in enumerate(pairs, start=1):
            if ctx.needs_input_grad[i]:
                grads[i] = (value * grad).sum(dim=(0, 1, 3, 4))[:, None, None]
        return tuple(grads)


class Tam(nn.Module):
    """The depth-wise filter over three frames and a ReLU; beyond the clip's ends there is nothing.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.previous, self.current, self.following = (nn.Parameter(torch.empty(channels, 1, 1, 1)) for _ in range(3))
        for weight in self.parameters():
            nn.init.normal_(weight, std=(2 / channels) ** 0.5)  # as published: by the outputs of all channels
        self.relu = nn.ReLU(inplace=True)

    def multiply_adds(self, out_BCHW: Tensor) -> int:
        """Return those of the three convolutions that this is."""
        return 3 * out_BCHW.numel()

    def forward(self, x_BCHW: Tensor, clips: int) -> Tensor:
        """Map ``(N x T, C, H, W)`` to ``(N x T, C, H, W)``."""
        weights = (weight[..., 0].to(x_BCHW.dtype) for weight in (self.previous, self.current, self.following))
        out_BCHW: Tensor = self.relu(temporal_filter(as_clips(x_BCHW, clips), *weights).flatten(0, 1))
        return out_BCHW


def _inside(channels: int, place: Place) -> nn.Module:
    del place
    return Tam(channels)


@register_temporal("tam")
def tam() -> TemporalModule:
    """Filter three frames before each block's first convolution, the shortcut apart: TAM."""
    return TemporalModule(inside=_inside)
