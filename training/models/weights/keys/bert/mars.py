"""Keys of craston/MARS: 3D ResNeXt for RGB, for flow, and for RGB taught by flow (MARS). The names are kenshohara's."""

from collections.abc import Mapping
from typing import Any

from kinebert.training.models.inputs import ACTIVITYNET, BYTE_FLOW
from kinebert.training.models.weights.keys import Layout, PublishedFile, Shape
from kinebert.training.models.weights.keys.bert.kenshohara import TRUNK, groups, known_options, shortcut


def _options(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any] | None:
    if groups(shapes) < 2:
        return None
    return known_options({"shortcut": shortcut(shapes), "cardinality": groups(shapes)}, present)


_CLASSES = {"Kinetics": 400, "HMDB51": 51, "UCF101": 101}

LAYOUTS = (
    Layout(
        name="mars",
        source="craston/MARS",
        paper="MARS: motion-augmented RGB stream for action recognition, CVPR 2019",
        licence="none stated",
        url="https://drive.google.com/drive/folders/1OVhBnZ_FmqMSj6gw9yyrxJJR8yRINb_G",
        rules=TRUNK,
        normalization={"rgb": ACTIVITYNET, "flow": BYTE_FLOW, "pose": ACTIVITYNET},
        options=_options,
        files=tuple(
            PublishedFile(
                name=f"{stream}_{data}_{num_frames}f.pth",
                backbone="resnext101",
                num_classes=num_classes,
                num_frames=num_frames,
                crop_size=112,
                modality="flow" if stream == "Flow" else "rgb",
                data="Kinetics-400" if data == "Kinetics" else f"Kinetics-400, then {data}",
            )
            for stream in ("RGB", "Flow", "MARS")
            for data, num_classes in _CLASSES.items()
            for num_frames in (16, 64)
        ),
    ),
)
