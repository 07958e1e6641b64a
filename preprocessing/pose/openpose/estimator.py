"""From pictures to people: input, network and decoder.

Axes: H height, W width, J joints, C channels, h and w of a network's maps; people as in :mod:`..skeleton`.
"""

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.pose.estimator import Means
from kinebert.preprocessing.pose.openpose.assembly import decode
from kinebert.preprocessing.pose.openpose.device import Device, candidates_on_device
from kinebert.preprocessing.pose.openpose.maps import SHARPNESS, Maps, Scale
from kinebert.preprocessing.pose.openpose.models import MODELS, ModelName
from kinebert.preprocessing.pose.openpose.pictures import Placement, placed, placements
from kinebert.preprocessing.pose.openpose.port import decode_port
from kinebert.preprocessing.pose.openpose.settings import OpenPoseParams, Precision
from kinebert.preprocessing.pose.openpose.weights import load_network
from kinebert.preprocessing.pose.skeleton import People

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]


class OpenPose:
    """Finds people in one picture after the other; none depends on another.

    Args:
        params: Settings.
        files: The path of the weights, under ``network``.
        means: What it may use.

    Raises:
        UserError: If the file holds no weights of OpenPose, or the machine cannot do what is asked.
    """

    def __init__(self, params: OpenPoseParams, files: Mapping[str, str], means: Means) -> None:
        path = files["network"]
        name, self._device = _kept(path, storage.file_identity(path), means.on_gpu, params.precision, means.num_threads)
        if params.decoder == "port" and name != "coco18":
            raise ConfigError(
                f"decoder = 'port' is for the network of 18 joints, and {path} holds the one of 25. "
                "Take decoder = 'cmu', or give pose_iter_440000."
            )
        self.name = f"torch {torch.__version__}"
        self.model = MODELS[name]
        self._params = params

    def pictures_at_once(self, height: int, width: int) -> int:
        """Return how many pictures go through the network together."""
        largest = placements(height, width, self._params)[0]
        return self._device.pictures_at_once(largest.height, largest.width)

    def begin(self) -> None:
        """Nothing is tracked."""

    def __call__(self, frames: Sequence[UInt8]) -> list[People]:
        """Return the people of each picture, in the order in which their best limbs come."""
        if not frames:
            return []
        height, width = frames[0].shape[:2]
        scales = placements(height, width, self._params)
        with self._device.at_work():
            maps = [self._device.maps([placed(frame, at, self._params) for frame in frames]) for at in scales]
            return [
                self._people([(heat[i], field[i]) for heat, field in maps], scales, (height, width))
                for i in range(len(frames))
            ]

    def _people(
        self, answers: Sequence[tuple[Tensor, Tensor]], scales: Sequence[Placement], size: tuple[int, int]
    ) -> People:
        params, model = self._params, self.model
        if params.decoder == "port":
            heat_Chw, field_Chw = (part.cpu().numpy() for part in answers[0])
            answer = decode_port(heat_Chw, field_Chw, size, scales[0].inner, relu=params.port_relu)
            return model.to_body_25(answer.people())
        largest = scales[0]
        prepared = [
            Scale.of(
                heat_Chw.cpu().numpy(),
                field_Chw.cpu().numpy(),
                model,
                size=(largest.height, largest.width),
                ratio=at.factor / largest.factor,
                sharpness=SHARPNESS[params.upsampling],
            )
            for (heat_Chw, field_Chw), at in zip(answers, scales, strict=True)
        ]
        by_opencv = params.upsampling == "opencv" and len(scales) == 1
        found = None
        if self._device.on_gpu:
            heats = [heat_Chw[: len(model.joints)] for heat_Chw, _ in answers]
            rows, columns = [one.rows for one in prepared], [one.columns for one in prepared]
            found = candidates_on_device(heats, rows, columns, params.thresholds.peak)
        people_PJ3, _ = decode(
            Maps(largest.height, largest.width, prepared, by_opencv),
            model,
            params.thresholds,
            scale=1 / largest.factor,
            as_cuda=params.upsampling == "cuda",
            found=found,
        )
        return model.to_body_25(people_PJ3)


@functools.lru_cache(maxsize=1)
def _kept(
    path: str, identity: tuple[int, ...] | None, on_gpu: bool, precision: Precision, num_threads: int
) -> tuple[ModelName, Device]:
    """Return the network of a file, which videos of one process share; ``identity`` tells whether the file changed."""
    del identity
    name, network = load_network(path)
    return name, Device(network, on_gpu=on_gpu, precision=precision, num_threads=num_threads)
