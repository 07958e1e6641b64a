"""SoftPool: an average of every window in which each value weighs as much as its exponential.

Source: "Refining activation downsampling with SoftPool", ICCV 2021, arXiv:2101.00440, equation 2.

Axes: N batch, C channels; ... are the axes that are pooled; K places in a window.
"""

import itertools

import torch
from torch import Tensor

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models.arguments import positive


def soft_pool(x: Tensor, window: tuple[int, ...]) -> Tensor:
    """Average ``(N, C, ...)`` over windows that lie side by side, each value weighted by the softmax of its window.

    Any finite values will do: no exponential overflows. What does not fill a window at the end of an axis is left out,
    as in the published program.

    Args:
        x: Values, ``(N, C, *sizes)``.
        window: Length of a window along each of the axes behind C.

    Returns:
        ``(N, C, *sizes // window)``.

    Raises:
        ConfigError: If the axes are not as many as the window has, or one is shorter than the window.
    """
    positive(**{f"window[{i}]": length for i, length in enumerate(window)})
    sizes = x.shape[2:]
    if len(sizes) != len(window) or any(size < length for size, length in zip(sizes, window, strict=True)):
        raise ConfigError(f"windows of {window} do not fit into {tuple(sizes)}: take smaller ones.")
    ends = [size // length * length for size, length in zip(sizes, window, strict=True)]
    places = itertools.product(*(range(length) for length in window))
    # one slice for each place: softmax over the first axis is several times as fast as exp and two average pools
    values_KNC = torch.stack([x[:, :, *map(slice, place, ends, window)] for place in places])
    return (values_KNC.softmax(dim=0) * values_KNC).sum(dim=0)
