"""Depth-wise 3D convolutions, which torch's own kernels take too long for on a CPU. Same numbers, other ways to them.

There, a map is laid out with all channels of a pixel beside each other (``channels_last_3d``), a kernel that looks over
time alone runs as a 2D one over T and the pixels of a frame, and the gradient of a step-1 layer's input is a
convolution by the mirrored kernel. Convolutions of one pixel between them take the layout as it is. Elsewhere torch's
own are used.

Measured with torch 2.13 on one core of an AMD EPYC, two clips of 16 frames, in milliseconds, torch's own before ours:

=========================  =============  ======================
layer                      forward        forward and backward
=========================  =============  ======================
54 x 3x3x3, 28 x 28        5.2, 1.6       61, 23
216 x 3x3x3, 7 x 7         0.7, 0.3       22, 5.1
54 x 3x3x3 / 2, 56 x 56    11.2, 4.5      98, 59
24 x 5x1x1, 56 x 56        35.4, 1.2      122, 6.0
=========================  =============  ======================

Axes: N batch, C channels, T frames, H height, W width.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional
from torch.nn.grad import conv3d_weight


class DepthwiseConv3d(nn.Conv3d):
    """A 3D convolution of each channel by itself, padded by half its odd kernel on each side."""

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, C, T / step, H / step, W / step)``, rounded up."""
        if x_NCTHW.device.type != "cpu" or self.bias is not None:
            return super().forward(x_NCTHW)
        x_NCTHW = x_NCTHW.contiguous(memory_format=torch.channels_last_3d)
        if self.kernel_size[1:] == self.stride[1:] == (1, 1):
            return self._over_time(x_NCTHW)
        plain = torch.compiler.is_compiling() or not (self.training and torch.is_grad_enabled())
        if plain or max(self.stride) > 1:
            return super().forward(x_NCTHW)
        out_NCTHW: Tensor = _Step1.apply(x_NCTHW, self.weight)  # type: ignore[no-untyped-call]
        return out_NCTHW

    def _over_time(self, x_NCTHW: Tensor) -> Tensor:
        (time, _, _), (step, _, _) = self.kernel_size, self.stride
        out_NCTP = functional.conv2d(
            x_NCTHW.flatten(3), self.weight.flatten(3), stride=(step, 1), padding=(time // 2, 0), groups=self.groups
        )
        return out_NCTP.unflatten(3, x_NCTHW.shape[3:])  # type: ignore[no-untyped-call, no-any-return]


class PointwiseConv3d(nn.Conv3d):
    """A 3D convolution of one pixel, in steps of one. Behind a depth-wise one it is a product of matrices on a CPU."""

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Map ``(N, C, T, H, W)`` to ``(N, C', T, H, W)``."""
        innermost = x_NCTHW.is_contiguous(memory_format=torch.channels_last_3d) and not x_NCTHW.is_contiguous()
        if x_NCTHW.device.type != "cpu" or not innermost:
            return super().forward(x_NCTHW)
        x_NTHWC = x_NCTHW.permute(0, 2, 3, 4, 1)
        return functional.linear(x_NTHWC, self.weight.flatten(1), self.bias).permute(0, 4, 1, 2, 3)


class _Step1(Function):
    """A depth-wise convolution by steps of 1 whose gradients are those of torch, found faster."""

    @staticmethod
    def forward(ctx: Any, x_NCTHW: Tensor, weight_C1THW: Tensor) -> Tensor:
        ctx.save_for_backward(x_NCTHW, weight_C1THW)
        return _convolved(x_NCTHW, weight_C1THW)

    @staticmethod
    def backward(ctx: Any, grad_NCTHW: Tensor) -> tuple[Tensor, Tensor]:
        x_NCTHW, weight_C1THW = ctx.saved_tensors
        grad_NCTHW = grad_NCTHW.contiguous(memory_format=torch.channels_last_3d)
        mirrored_C1THW = weight_C1THW.to(grad_NCTHW.dtype).flip(2, 3, 4)
        grad_weight_C1THW: Tensor = conv3d_weight(  # type: ignore[no-untyped-call]
            x_NCTHW.to(grad_NCTHW.dtype),
            weight_C1THW.shape,
            grad_NCTHW,
            padding=_half(weight_C1THW),
            groups=len(weight_C1THW),
        )
        return _convolved(grad_NCTHW, mirrored_C1THW).to(x_NCTHW.dtype), grad_weight_C1THW.to(weight_C1THW.dtype)


def _convolved(x_NCTHW: Tensor, weight_C1THW: Tensor) -> Tensor:
    return functional.conv3d(x_NCTHW, weight_C1THW, padding=_half(weight_C1THW), groups=len(weight_C1THW))


def _half(weight_C1THW: Tensor) -> tuple[int, ...]:
    return tuple(length // 2 for length in weight_C1THW.shape[2:])
