"""The same networks read plainly, as their papers write them: one operation after the other, nothing in place.

Axes: N batch, C channels, T frames, H height, W width, F features, S steps, A attention heads, D features of a head.
"""

import copy
import math
from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinebert.training.models import Recognizer
from kinebert.training.models.backbones.clips.i3d import SameConv3d, SamePool3d, same_padding
from kinebert.training.models.backbones.frames.mobilenet import InvertedResidual
from kinebert.training.models.blocks import Residual
from kinebert.training.models.depthwise import DepthwiseConv3d
from kinebert.training.models.heads.bert import Attention, Block, LayerNorm
from kinebert.training.models.inception import Unit
from kinebert.training.models.temporal.tam import Tam
from kinebert.training.models.temporal.tsm import Shift


def plain(net: Recognizer) -> Recognizer:
    """Return a copy of ``net`` that computes the same, with weights of its own."""
    other = copy.deepcopy(net)
    for module in other.modules():
        reading = next((READINGS[kind] for kind in type(module).__mro__ if kind in READINGS), None)
        if reading is not None:
            module.forward = MethodType(reading, module)  # type: ignore[method-assign]
    return other


def _relu(self: nn.ReLU, x: Tensor) -> Tensor:
    return functional.relu(x)


def _relu6(self: nn.ReLU6, x: Tensor) -> Tensor:
    return functional.relu6(x)


def _silu(self: nn.SiLU, x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def _residual(self: Residual, x: Tensor, *context: Any) -> Tensor:
    if self.before is not None:
        x = self.before(x, *context)
    shortcut = x if self.downsample is None else self.downsample(x)
    out = functional.relu(self.residual(x if self.inside is None else self.inside(x, *context)) + shortcut)
    return out if self.behind is None else self.behind(out, *context)


def _inverted_residual(self: InvertedResidual, x: Tensor, *context: Any) -> Tensor:
    if self.before is not None:
        x = self.before(x, *context)
    out = self.residual(x if self.inside is None else self.inside(x, *context))
    if self.has_shortcut:
        out = out + x
    return out if self.behind is None else self.behind(out, *context)


def _shift(self: Shift, x_BCHW: Tensor, clips: int) -> Tensor:
    x_NTCHW = x_BCHW.view(clips, -1, *x_BCHW.shape[1:])
    earlier, later, _ = self.shares
    out_NTCHW = torch.zeros_like(x_NTCHW)
    out_NTCHW[:, :-1, :earlier] = x_NTCHW[:, 1:, :earlier]
    out_NTCHW[:, 1:, earlier : earlier + later] = x_NTCHW[:, :-1, earlier : earlier + later]
    out_NTCHW[:, :, earlier + later :] = x_NTCHW[:, :, earlier + later :]
    return out_NTCHW.view(x_BCHW.shape)


def _tam(self: Tam, x_BCHW: Tensor, clips: int) -> Tensor:
    before, at, behind = (
        functional.conv2d(x_BCHW, weight, groups=x_BCHW.shape[1]).view(clips, -1, *x_BCHW.shape[1:])
        for weight in (self.previous, self.current, self.following)
    )
    nothing = torch.zeros_like(at[:, :1])
    sum_NTCHW = torch.cat([nothing, before[:, :-1]], dim=1) + at + torch.cat([behind[:, 1:], nothing], dim=1)
    return functional.relu(sum_NTCHW).view(x_BCHW.shape)


def _depthwise(self: DepthwiseConv3d, x_NCTHW: Tensor) -> Tensor:
    return nn.Conv3d.forward(self, x_NCTHW)


def _unit(self: Unit, x_NCTHW: Tensor) -> Tensor:
    return functional.relu(self.norm(self.conv(x_NCTHW)))


def _padded(x_NCTHW: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    pads = [same_padding(*sizes) for sizes in zip(x_NCTHW.shape[2:], kernel, stride, strict=True)]
    return functional.pad(x_NCTHW, [side for pad in reversed(pads) for side in pad])


def _same_conv(self: SameConv3d, x_NCTHW: Tensor) -> Tensor:
    return functional.conv3d(_padded(x_NCTHW, self.kernel_size, self.stride), self.weight, None, self.stride)


def _same_pool(self: SamePool3d, x_NCTHW: Tensor) -> Tensor:
    assert isinstance(self.kernel_size, tuple)
    assert isinstance(self.stride, tuple)
    return functional.max_pool3d(_padded(x_NCTHW, self.kernel_size, self.stride), self.kernel_size, self.stride)


def _layer_norm(self: LayerNorm, x_NSF: Tensor) -> Tensor:
    mean_NS1, std_NS1 = x_NSF.mean(-1, keepdim=True), x_NSF.std(-1, keepdim=True)
    return self.scale * (x_NSF - mean_NS1) / (std_NS1 + self.eps) + self.shift


def _attention(self: Attention, x_NSF: Tensor, visible_NS: Tensor | None) -> Tensor:
    n, s, _ = x_NSF.shape
    query, key, value = (
        layer(x_NSF).view(n, s, self.num_heads, -1).transpose(1, 2) for layer in (self.query, self.key, self.value)
    )
    scores_NASS = torch.matmul(query, key.transpose(-2, -1)) / math.sqrt(query.size(-1))
    if visible_NS is not None:
        scores_NASS = scores_NASS.masked_fill(~visible_NS[:, None, None, :], -1e9)
    weights_NASS = functional.dropout(functional.softmax(scores_NASS, dim=-1), self.dropout, self.training)
    mixed_NSF = torch.matmul(weights_NASS, value).transpose(1, 2).contiguous().view(n, s, -1)
    out_NSF: Tensor = self.output(mixed_NSF)
    return out_NSF


def _block(self: Block, x_NSF: Tensor, visible_NS: Tensor | None) -> Tensor:
    x_NSF = x_NSF + self.drop(self.attention(self.norm1(x_NSF), visible_NS))
    hidden = self.expand(self.norm2(x_NSF))
    hidden = 0.5 * hidden * (1 + torch.tanh(math.sqrt(2 / math.pi) * (hidden + 0.044715 * torch.pow(hidden, 3))))
    x_NSF = x_NSF + self.drop(self.contract(self.drop(hidden)))
    out_NSF: Tensor = self.drop(x_NSF)
    return out_NSF


READINGS: dict[type[nn.Module], Callable[..., Any]] = {
    nn.ReLU: _relu,
    nn.ReLU6: _relu6,
    nn.SiLU: _silu,
    Residual: _residual,
    InvertedResidual: _inverted_residual,
    Shift: _shift,
    Tam: _tam,
    DepthwiseConv3d: _depthwise,
    Unit: _unit,
    SameConv3d: _same_conv,
    SamePool3d: _same_pool,
    LayerNorm: _layer_norm,
    Attention: _attention,
    Block: _block,
}
"""By class; a class derived from one is read the same way."""
