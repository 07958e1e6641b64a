"""Weights of one shape for a place of another: other input channels, kernels without time, classifiers that convolve.

Axes: O filters, C channels, T, H, W kernel sizes.
"""

from torch import Tensor

from kinebert.training.models.weights.keys import Inflation


def adapt(
    tensor: Tensor,
    shape: tuple[int, ...],
    channels: int,
    *,
    inflated: bool = False,
    inflation: Inflation = "divide",
    rescale: bool = True,
) -> tuple[Tensor, str] | None:
    """Return ``tensor`` in the wanted ``shape`` and what was done to its values, or None if that cannot be.

    Args:
        tensor: As published.
        shape: That of our parameter.
        channels: Of the network's input. Kernels over so many channels may come from kernels over another number.
        inflated: Whether a kernel may lack the axis of time.
        inflation: How such a kernel is spread over time.
        rescale: Whether kernels over averaged channels grow by the ratio of the numbers of channels, so that what
            they sum up keeps its size.
    """
    done = []
    if inflated and tensor.ndim == 4 and len(shape) == 5:
        steps = shape[2]
        tensor = tensor[:, :, None].expand(-1, -1, steps, -1, -1)
        if steps > 1 and inflation == "divide":
            tensor = tensor / steps
        done += [f"spread over {steps} time steps" + (f", divided by {steps}" if inflation == "divide" else "")] * (
            steps > 1
        )
    if len(shape) <= 2 < tensor.ndim and tensor.numel() == tensor.shape[: len(shape)].numel():
        tensor = tensor.reshape(tensor.shape[: len(shape)])  # a classifier written as a convolution of size 1
    if tensor.ndim >= 4 and tensor.shape != shape and _but_for_channels(tensor.shape) == _but_for_channels(shape):
        theirs, ours = tensor.shape[1], shape[1]
        if ours != channels:
            return None
        tensor = tensor.mean(dim=1, keepdim=True).expand(shape)
        if rescale:
            tensor = tensor * (theirs / ours)
        done.append(f"{theirs} channels averaged for {ours}" + (f", times {theirs}/{ours}" if rescale else ""))
    return (tensor, "; ".join(done)) if tuple(tensor.shape) == tuple(shape) else None


def _but_for_channels(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:1], *shape[2:])
