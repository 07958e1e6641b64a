"""Keys of torchvision: networks of ImageNet, and the video networks.

Those of ImageNet go into every network of pictures under every temporal module, as the program of "Deep analysis of
CNN-based spatio-temporal representations for action recognition", arXiv:2010.11757, loads them: kernels are copied
along time, without being divided, and what the module adds stays fresh. In 3D ResNets they are divided.
"""

from collections.abc import Mapping
from typing import Any

from kinebert.training.models.inception import MIXED
from kinebert.training.models.inputs import CENTERED, CENTERED_FLOW, FLOW, IMAGENET, KINETICS
from kinebert.training.models.weights.keys import Layout, PublishedFile, Shape
from kinebert.training.models.weights.keys.bert.ig65m import R2PLUS1D, one_middle
from kinebert.training.models.weights.keys.bert.kenshohara import TRUNK, known_options
from kinebert.training.models.weights.keys.frames.ibm import GOOGLENET

_BLOCK = r"(layer[1-4]\.\d+)\."

_VIDEO = (
    (r"(stem\.[01]\..+)", r"backbone.\1"),
    (_BLOCK + r"conv([12])\.0\.weight", r"backbone.\1.conv\2.weight"),
    (_BLOCK + r"conv([12])\.1\.(.+)", r"backbone.\1.bn\2.\3"),
    (_BLOCK + r"(downsample\.[01]\..+)", r"backbone.\1.\2"),
    (r"fc\.(weight|bias)", r"classifier.\1"),
)


CONNECTING = (r"backbone\..+\.(before|inside|behind|time\d?)\..+",)
"""Our names of what temporal modules put into a network of pictures, of which weights of pictures have none."""


def _options_2d(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any] | None:
    first = shapes.get("conv1.weight", shapes.get("conv1.conv.weight", ()))
    return {} if len(first) == 4 and "temporal" in present else None


def _options_inflated(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any] | None:
    if len(shapes.get("conv1.weight", ())) != 4 or "temporal" in present:
        return None
    filters, channels = shapes["layer1.0.conv2.weight"][:2]
    return known_options({"shortcut": "B", "cardinality": filters // channels}, present)


def _s3d() -> tuple[tuple[str, str], ...]:
    """Return the rules of S3D: whole convolutions are two entries, factored ones two of two."""
    places = dict(zip((0, 2, 3, 5, 6, 8, 9, 10, 11, 12, 14, 15), ("conv1", "conv2", "conv3", *MIXED), strict=True))
    branches = {
        "branch0": "point",
        r"branch1\.0": "first_reduce",
        r"branch1\.1": "first",
        r"branch2\.0": "second_reduce",
        r"branch2\.1": "second",
        r"branch3\.1": "pooled",
    }
    units = {rf"features\.{i}": ours for i, ours in places.items()}
    units |= {
        rf"features\.{i}\.{branch}": f"{ours}.{part}" for i, ours in places.items() for branch, part in branches.items()
    }
    rules = [
        rule
        for theirs, ours in units.items()
        for rule in (
            (rf"{theirs}\.0\.0\.weight", f"backbone.{ours}.conv.weight"),
            (rf"{theirs}\.0\.1\.(.+)", rf"backbone.{ours}.norm.\1"),
            (rf"{theirs}\.1\.0\.weight", f"backbone.{ours}.time.1.weight"),
            (rf"{theirs}\.1\.1\.(.+)", rf"backbone.{ours}.time.2.\1"),
            (rf"{theirs}\.0\.weight", f"backbone.{ours}.conv.weight"),
            (rf"{theirs}\.1\.(\w+)", rf"backbone.{ours}.norm.\1"),
        )
    ]
    return (*rules, (r"classifier\.1\.(weight|bias)", r"classifier.\1"))


def _options_video(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any]:
    shape = shapes.get("layer2.0.conv1.0.weight", ())
    family = "torchvision_mc3" if shape[2:3] == (1,) else "torchvision"
    return known_options({"family": family, "shortcut": "B"}, present)


def _options_r2plus1d(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any] | None:
    return known_options({"family": "torchvision"}, present) if one_middle(shapes) else None


def _image(name: str, backbone: str) -> PublishedFile:
    return PublishedFile(
        name=name, backbone=backbone, num_classes=1000, num_frames=1, crop_size=224, data="ImageNet-1k"
    )


def _video(name: str, backbone: str, family: str) -> PublishedFile:
    return PublishedFile(
        name=name,
        backbone=backbone,
        num_classes=400,
        num_frames=16,
        crop_size=112,
        frame_interval=2,  # of videos at 30 frames per second: they are read at 15
        backbone_options={"family": family},
    )


_LICENCE = "BSD 3-Clause"
_RESNET = "Deep residual learning for image recognition, arXiv:1512.03385"
_CLOSER_LOOK = "A closer look at spatiotemporal convolutions for action recognition, arXiv:1711.11248"

LAYOUTS = (
    Layout(
        name="torchvision_2d",
        source="torchvision, ImageNet",
        paper=_RESNET,
        licence=_LICENCE,
        url="https://docs.pytorch.org/vision/stable/models/resnet.html",
        rules=TRUNK,
        normalization={"rgb": IMAGENET, "flow": FLOW, "pose": IMAGENET},
        options=_options_2d,
        inflated=True,
        inflation="copy",
        fresh=CONNECTING,
        files=(
            _image("resnet18-f37072fd.pth", "resnet18"),
            _image("resnet34-b627a593.pth", "resnet34"),
            _image("resnet50-0676ba61.pth", "resnet50"),
            _image("resnet50-11ad3fa6.pth", "resnet50"),
            _image("resnet101-63fe2227.pth", "resnet101"),
            _image("resnet101-cd907fc2.pth", "resnet101"),
            _image("resnet152-394f9c45.pth", "resnet152"),
            _image("resnet152-f82ba261.pth", "resnet152"),
        ),
    ),
    Layout(
        name="torchvision_googlenet",
        source="torchvision, ImageNet",
        paper="Going deeper with convolutions, arXiv:1409.4842",
        licence=_LICENCE,
        url="https://docs.pytorch.org/vision/stable/models/googlenet.html",
        rules=GOOGLENET,
        ignored=(r"aux[12]\..+",),
        normalization={"rgb": CENTERED, "flow": CENTERED_FLOW, "pose": CENTERED},
        options=_options_2d,
        inflated=True,
        inflation="copy",
        fresh=CONNECTING,
        files=(_image("googlenet-1378be20.pth", "inceptionv1"),),
    ),
    Layout(
        name="torchvision_inflated",
        source="torchvision, ImageNet; kernels spread over time",
        paper=f"{_RESNET}; Quo vadis, action recognition? arXiv:1705.07750 (inflation)",
        licence=_LICENCE,
        url="https://docs.pytorch.org/vision/stable/models/resnet.html",
        rules=TRUNK,
        normalization={"rgb": IMAGENET, "flow": FLOW, "pose": IMAGENET},
        options=_options_inflated,
        inflated=True,
        files=(_image("resnext50_32x4d-7cdf4587.pth", "resnext50"),),
    ),
    Layout(
        name="torchvision_video",
        source="torchvision, r3d_18 and mc3_18",
        paper=_CLOSER_LOOK,
        licence=_LICENCE,
        url="https://docs.pytorch.org/vision/stable/models/video_resnet.html",
        rules=_VIDEO,
        normalization={"rgb": KINETICS, "flow": FLOW, "pose": KINETICS},
        options=_options_video,
        files=(
            _video("r3d_18-b3b3357e.pth", "resnet3d_18", "torchvision"),
            _video("mc3_18-a90a0ba3.pth", "resnet3d_18", "torchvision_mc3"),
        ),
    ),
    Layout(
        name="torchvision_s3d",
        source="torchvision, s3d",
        paper="Rethinking spatiotemporal feature learning, arXiv:1712.04851",
        licence=_LICENCE,
        url="https://docs.pytorch.org/vision/stable/models/video_s3d.html",
        rules=_s3d(),
        normalization={"rgb": KINETICS, "flow": FLOW, "pose": KINETICS},
        files=(
            PublishedFile(
                name="s3d-d76dad2f.pth",
                backbone="s3d",
                num_classes=400,
                num_frames=128,
                crop_size=224,
                frame_interval=2,  # as the others
                head_options={"window": 2},  # its pool before the classifier
            ),
        ),
    ),
    Layout(
        name="torchvision_r2plus1d",
        source="torchvision, r2plus1d_18",
        paper=_CLOSER_LOOK,
        licence=_LICENCE,
        url="https://docs.pytorch.org/vision/stable/models/video_resnet.html",
        rules=R2PLUS1D,
        normalization={"rgb": KINETICS, "flow": FLOW, "pose": KINETICS},
        options=_options_r2plus1d,
        files=(_video("r2plus1d_18-91a641e6.pth", "r2plus1d_18", "torchvision"),),
    ),
)
