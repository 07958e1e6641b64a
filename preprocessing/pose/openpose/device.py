"""The networks at work on a CPU or a GPU, and joints found where the maps are.

Axes: N pictures, C channels, H height, W width of the input, h and w of maps; J joints, L limbs, K peaks.
"""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.pose.openpose.maps import Taps
from kinebert.preprocessing.pose.openpose.network import PoseNetwork
from kinebert.preprocessing.pose.openpose.peaks import REACH, Candidates
from kinebert.preprocessing.pose.openpose.settings import Precision

UInt8 = NDArray[np.uint8]
_PIXELS_AT_ONCE = 8 * 368 * 656
"""Of a GPU's batch: a few GiB for either network."""
_MOST_AT_ONCE = 32


class Device:
    """Runs one network.

    Args:
        network: The network, on the CPU; it is moved.
        on_gpu: Use a CUDA device.
        precision: What it computes with; ``float16`` is for GPUs.
        num_threads: Cores that it may use on a CPU, while it works.

    Raises:
        UserError: If there is no CUDA device, or half precision is asked of a CPU.
    """

    def __init__(self, network: PoseNetwork, *, on_gpu: bool, precision: Precision, num_threads: int) -> None:
        if on_gpu and not torch.cuda.is_available():
            raise UserError(
                "A task holds a GPU, but torch sees none there. Install a torch that is made for this GPU "
                "(torch.cuda.is_available() must be true there), or run without GPUs."
            )
        if precision == "float16" and not on_gpu:
            raise UserError("precision = 'float16' needs a GPU, and this task has none. Leave it out, or give it one.")
        self.on_gpu = on_gpu
        self._num_threads, self._pixels_at_once = num_threads, _PIXELS_AT_ONCE
        self._device = torch.device("cuda" if on_gpu else "cpu")
        self._dtype = torch.float16 if precision == "float16" else torch.float32
        memory_format = torch.channels_last if on_gpu else torch.contiguous_format
        self._network = network.to(self._device, self._dtype, memory_format=memory_format)  # type: ignore[call-overload]
        self._memory_format = memory_format

    def pictures_at_once(self, height: int, width: int) -> int:
        """Return how many inputs of that size to run together: one on a CPU, which gains nothing from more."""
        return min(max(self._pixels_at_once // (height * width), 1), _MOST_AT_ONCE) if self.on_gpu else 1

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Use as many threads as may be used, and leave the process as it was.

        On GPUs float32 means float32: convolutions could be rounded to fewer digits else.
        """
        before = torch.get_num_threads()
        torch.set_num_threads(self._num_threads)
        try:
            with (
                torch.inference_mode(),
                torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
            ):
                yield
        finally:
            torch.set_num_threads(before)

    def maps(self, pictures: Sequence[UInt8]) -> tuple[Tensor, Tensor]:
        """Return heat maps and fields of inputs, BGR bytes ``(H, W, 3)`` of one size, as float32 on the device.

        The network always sees as many inputs as it may, so that no answer depends on how many are asked for.
        Where memory is too small, those are half as many from then on.
        """
        while True:
            try:
                return self._maps(pictures, self.pictures_at_once(*pictures[0].shape[:2]))
            except torch.cuda.OutOfMemoryError:
                if self._pixels_at_once <= pictures[0][..., 0].size:
                    raise
                self._pixels_at_once //= 2

    def _maps(self, pictures: Sequence[UInt8], at_once: int) -> tuple[Tensor, Tensor]:
        found = []
        for first in range(0, len(pictures), at_once):
            given = pictures[first : first + at_once]
            filled = [*given, *(np.zeros_like(given[0]) for _ in range(at_once - len(given)))]
            bytes_NHWC = torch.from_numpy(np.stack(filled)).to(self._device)
            x_NCHW = bytes_NHWC.permute(0, 3, 1, 2).to(self._dtype).contiguous(memory_format=self._memory_format)
            maps = self._network(x_NCHW / 256 - 0.5)
            found.append([part[: len(given)].float() for part in maps])
        heat_NChw, field_NChw = (torch.cat(parts).contiguous() for parts in zip(*found, strict=True))
        return heat_NChw, field_NChw


def candidates_on_device(
    heats_Jhw: Sequence[Tensor], rows: Sequence[Taps], columns: Sequence[Taps], threshold: float
) -> Candidates:
    """Return what :func:`.peaks.candidates` does, with maps of one or more scales that stay where they are.

    Args:
        heats_Jhw: Heat maps of each scale, without the background.
        rows: Where the rows of the input come from in each scale's maps.
        columns: The same for columns.
        threshold: What a peak is above.
    """
    total_JHW: Tensor | None = None
    for heat_Jhw, down, across in zip(heats_Jhw, rows, columns, strict=True):
        left_Hh, right_Ww = (torch.from_numpy(one.matrix).to(heat_Jhw.device) for one in (down, across))
        large_JHW = left_Hh @ heat_Jhw @ right_Ww.T
        total_JHW = large_JHW if total_JHW is None else total_JHW + large_JHW
    assert total_JHW is not None
    heat_JHW = total_JHW / len(heats_Jhw)
    highest_JHW = torch.nn.functional.max_pool2d(heat_JHW[None], 3, stride=1, padding=1)[0]
    joint_K, y_K, x_K = ((heat_JHW == highest_JHW) & (heat_JHW > threshold)).nonzero(as_tuple=True)
    around_JHW = torch.nn.functional.pad(heat_JHW, (REACH,) * 4)
    window = torch.arange(2 * REACH + 1, device=heat_JHW.device)
    rows_K71, columns_K17 = (y_K[:, None] + window)[:, :, None], (x_K[:, None] + window)[:, None, :]
    window_K77 = around_JHW[joint_K[:, None, None], rows_K71, columns_K17]
    return Candidates(*(part.cpu().numpy() for part in (joint_K, y_K, x_K, window_K77)))
