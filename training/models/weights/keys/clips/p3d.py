"""Keys of qijiezhao/pseudo-3d-pytorch: P3D, converted from the authors' Caffe weights."""

from collections.abc import Mapping
from typing import Any

from kinebert.training.models.inputs import FLOW, IMAGENET
from kinebert.training.models.weights.keys import Layout, PublishedFile, Shape
from kinebert.training.models.weights.keys.bert.kenshohara import known_options

_BLOCK = r"(layer[1-4]\.\d+)\."
_NAMES = {"1": "1", "2": "2", "3": "_time", "4": "3", "_normal": "2"}
"""Their endings of a block's convolutions and norms, and ours; the last stage has ``normal`` ones."""
_DEPTHS = {(3, 4, 6, 3): 63, (3, 4, 23, 3): 131, (3, 8, 36, 3): 199}


def _options(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any] | None:
    counts = tuple(sum(f"layer{i}.{j}.conv1.weight" in shapes for j in range(64)) for i in (1, 2, 3, 4))
    return known_options({"depth": _DEPTHS[counts]}, present) if counts in _DEPTHS else None


LAYOUTS = (
    Layout(
        name="p3d",
        source="qijiezhao/pseudo-3d-pytorch, converted from ZhaofanQiu/pseudo-3d-residual-networks",
        paper="Learning spatio-temporal representation with pseudo-3D residual networks, ICCV 2017",
        licence="MIT",
        url="https://github.com/qijiezhao/pseudo-3d-pytorch",
        rules=(
            (r"conv1_custom\.weight", "backbone.stem.0.weight"),
            (r"bn1\.(.+)", r"backbone.stem.1.\1"),
            *(
                (rf"{_BLOCK}{layer}{theirs}\.(.+)", rf"backbone.\1.{layer}{ours}.\2")
                for layer in ("conv", "bn")
                for theirs, ours in _NAMES.items()
            ),
            (_BLOCK + r"(downsample\.[01]\..+)", r"backbone.\1.\2"),
            (r"fc\.(weight|bias)", r"classifier.\1"),
        ),
        normalization={"rgb": IMAGENET, "flow": FLOW, "pose": IMAGENET},
        options=_options,
        files=tuple(
            PublishedFile(
                name=f"p3d_{modality}_199.checkpoint.pth.tar",
                backbone="p3d",
                modality=modality,
                num_classes=400,
                num_frames=16,
                crop_size=160,
            )
            for modality in ("rgb", "flow")
        ),
    ),
)
