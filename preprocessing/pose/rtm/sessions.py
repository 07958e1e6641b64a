"""A file of a network, run by onnxruntime: pictures of one size in, arrays out.

Axes: N batch (1), C channels (3), H height, W width.
"""

import importlib
import warnings
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.pose.estimator import Means

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_PADDING = 114
"""Grey of what a picture does not fill."""
_ERRORS = 3
"""Severity from which on onnxruntime prints."""


class Session:
    """A network with one input, a batch of one picture.

    Args:
        path: The file.
        means: Threads, and whether a GPU may be used.
        height: H, for files that leave it open; otherwise 0, or what the file says.
        width: W, likewise.

    Raises:
        UserError: If onnxruntime is not installed, or cannot run the file with such an input.
    """

    def __init__(self, path: str, means: Means, height: int = 0, width: int = 0) -> None:
        library = _library()
        options = library.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = means.num_threads, 1
        options.log_severity_level = _ERRORS
        on_gpu = means.on_gpu and _CUDA in library.get_available_providers()
        try:
            self._session: Any = library.InferenceSession(path, options, [_CUDA, _CPU] if on_gpu else [_CPU])
        except Exception as error:  # onnxruntime has a class of its own for each kind of failure
            raise UserError(f"{path}: onnxruntime cannot read this file: {_first_line(error)}.") from None
        self.path, self.inputs = path, [tuple(one.shape) for one in self._session.get_inputs()]
        self.height, self.width = self._size(height, width)
        place = "CUDA" if _CUDA in self._session.get_providers() else "CPU"
        self.runtime = f"onnxruntime {library.__version__} on {place}"
        if means.on_gpu and place == "CPU":
            warnings.warn(
                f"{path}: onnxruntime has no CUDA here, and runs it on the CPU. Install onnxruntime-gpu in its place.",
                RuntimeWarning,
                stacklevel=2,
            )

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of the input."""
        (shape, *others) = self.inputs
        if others or len(shape) != 4 or shape[1] != 3:
            raise UserError(f"{self.path}: one input (batch, 3, height, width) was expected, found {self.inputs}.")
        sizes = []
        for name, given, has in (("height", height, shape[2]), ("width", width, shape[3])):
            if isinstance(has, int) and given not in (0, has):
                raise UserError(f"{self.path}: its input has the {name} {has}, {given} was asked for. Leave it out.")
            if not isinstance(has, int) and given < 1:
                raise UserError(f"{self.path}: its input {shape} leaves the {name} open. Give the {name} of pictures.")
            sizes.append(has if isinstance(has, int) else given)
        return sizes[0], sizes[1]

    def __call__(self, picture_HW3: NDArray[Any]) -> list[Float32]:
        """Return the outputs for a picture of this input's size, its values as the network wants them.

        Raises:
            UserError: If the network cannot be run.
        """
        x_NCHW = np.ascontiguousarray(picture_HW3.transpose(2, 0, 1)[None], np.float32)
        try:
            outputs: list[Float32] = self._session.run(None, {self._session.get_inputs()[0].name: x_NCHW})
        except Exception as error:
            raise UserError(f"{self.path}: onnxruntime cannot run this network: {_first_line(error)}.") from None
        return outputs

    def probe(self) -> list[Float32]:
        """Return the outputs for a grey picture: their shapes tell what kind of network it is."""
        return self(np.full((self.height, self.width, 3), _PADDING, np.float32))

    def letterboxed(self, bgr_HW3: UInt8) -> tuple[UInt8, float]:
        """Return a picture scaled into the input's upper left corner, with grey around, and the factor."""
        height, width = bgr_HW3.shape[:2]
        factor = min(self.height / height, self.width / width)
        size = max(1, int(width * factor)), max(1, int(height * factor))
        padded = np.full((self.height, self.width, 3), _PADDING, np.uint8)
        padded[: size[1], : size[0]] = cv2.resize(bgr_HW3, size, interpolation=cv2.INTER_LINEAR)
        return padded, factor


def _library() -> Any:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise UserError(f"the pose backend onnx needs onnxruntime: pip install 'kinebert[pose]' ({error}).") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
