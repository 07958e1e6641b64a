"""Keys of kenshohara/3D-ResNets-PyTorch: 3D ResNet, ResNeXt and R(2+1)D.

The files of 2018 and of 2020 have the same names for the same networks, but expect other inputs. PyTorch 0.3 wrote the
older ones, without ``num_batches_tracked``: that tells them apart.
"""

from collections.abc import Mapping
from typing import Any

from kinebert.training.models.inputs import ACTIVITYNET, BYTE_FLOW, FLOW, HARA
from kinebert.training.models.weights.keys import Layout, PublishedFile, Shape

_BLOCK = r"(layer[1-4]\.\d+)\."

TRUNK = (
    (r"conv1\.weight", r"backbone.stem.0.weight"),
    (r"bn1\.(.+)", r"backbone.stem.1.\1"),
    (_BLOCK + r"(conv[1-3]\.weight|bn[1-3]\..+|downsample\.[01]\..+)", r"backbone.\1.\2"),
    (r"fc\.(weight|bias)", r"classifier.\1"),
)
"""Rules for every ResNet and ResNeXt, 2D ones of torchvision included."""

_R2PLUS1D = (
    (r"conv1_s\.weight", r"backbone.stem.0.weight"),
    (r"bn1_s\.(.+)", r"backbone.stem.1.\1"),
    (r"conv1_t\.weight", r"backbone.stem.3.weight"),
    (r"bn1_t\.(.+)", r"backbone.stem.4.\1"),
    (_BLOCK + r"conv([12])_s\.weight", r"backbone.\1.conv\2.0.0.weight"),
    (_BLOCK + r"bn([12])_s\.(.+)", r"backbone.\1.conv\2.0.1.\3"),
    (_BLOCK + r"conv([12])_t\.weight", r"backbone.\1.conv\2.0.3.weight"),
    (_BLOCK + r"bn([12])_t\.(.+)", r"backbone.\1.conv\2.1.\3"),
    (_BLOCK + r"conv([13])\.weight", r"backbone.\1.conv\2.0.weight"),
    (_BLOCK + r"bn([13])\.(.+)", r"backbone.\1.conv\2.1.\3"),
    (_BLOCK + r"(downsample\.[01]\..+)", r"backbone.\1.\2"),
    (r"fc\.(weight|bias)", r"classifier.\1"),
)


def known_options(wanted: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of ``wanted`` that the backbone has; if it lacks some, its shapes say why the weights do not fit."""
    return {name: value for name, value in wanted.items() if name in present}


def groups(shapes: Mapping[str, Shape]) -> int:
    """Return the groups of the convolutions over frames: 1 but for ResNeXt; 0 if these are no clips' kernels."""
    shape = shapes.get("layer1.0.conv2.weight", ())
    return shape[0] // shape[1] if len(shape) == 5 else 0


def shortcut(shapes: Mapping[str, Shape]) -> str:
    """Return the kind of shortcut: A has no weights."""
    return "B" if any(".downsample." in key for key in shapes) else "A"


def has_counters(shapes: Mapping[str, Shape]) -> bool:
    """Whether PyTorch 0.4 or newer wrote the file."""
    return any(key.endswith(".num_batches_tracked") for key in shapes)


def _options_2020(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any] | None:
    if groups(shapes) != 1 or not has_counters(shapes):
        return None
    return known_options({"family": "hara", "shortcut": shortcut(shapes)}, present)


def _options_2018(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any] | None:
    if groups(shapes) < 1 or (groups(shapes) > 1 and has_counters(shapes)):  # the latter is MARS
        return None
    wanted = {"family": "hara", "shortcut": shortcut(shapes), "cardinality": groups(shapes)}
    return known_options(wanted, present)


def _options_r2plus1d(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any]:
    del shapes
    return known_options({"family": "hara"}, present)


def _file(name: str, backbone: str, num_classes: int, data: str, num_frames: int = 16, **options: Any) -> PublishedFile:
    return PublishedFile(
        name=name,
        backbone=backbone,
        num_classes=num_classes,
        num_frames=num_frames,
        crop_size=112,
        data=data,
        backbone_options=options,
    )


_CLASSES = {"K": 700, "KM": 1039, "KMS": 1139, "KS": 800, "M": 339, "MS": 439, "S": 100}
_DATA = {"K": "Kinetics-700", "M": "Moments in Time", "S": "STAIR Actions"}
_SETS = {18: ("K", "KM"), 34: ("K", "KM"), 50: tuple(_CLASSES), 101: ("K", "KM"), 152: ("K", "KM"), 200: ("K", "KM")}


def _named(letters: str) -> str:
    return " and ".join(_DATA[letter] for letter in letters)


LAYOUTS = (
    Layout(
        name="kenshohara_2020",
        source="kenshohara/3D-ResNets-PyTorch, 2020",
        paper="Would mega-scale datasets further enhance spatiotemporal 3D CNNs? arXiv:2004.04968",
        licence="MIT",
        url="https://github.com/kenshohara/3D-ResNets-PyTorch#pre-trained-models",
        rules=TRUNK,
        normalization={"rgb": HARA, "flow": FLOW, "pose": HARA},
        options=_options_2020,
        files=tuple(
            _file(f"r3d{depth}_{letters}_200ep.pth", f"resnet3d_{depth}", _CLASSES[letters], _named(letters))
            for depth, sets in _SETS.items()
            for letters in sets
        ),
    ),
    Layout(
        name="kenshohara_r2plus1d",
        source="kenshohara/3D-ResNets-PyTorch, 2020",
        paper="Would mega-scale datasets further enhance spatiotemporal 3D CNNs? arXiv:2004.04968",
        licence="MIT",
        url="https://github.com/kenshohara/3D-ResNets-PyTorch#pre-trained-models",
        rules=_R2PLUS1D,
        normalization={"rgb": HARA, "flow": FLOW, "pose": HARA},
        options=_options_r2plus1d,
        files=(
            *(
                _file(f"r2p1d{depth}_K_200ep.pth", f"r2plus1d_{depth}", 700, _named("K"), family="hara")
                for depth in (18, 34)
            ),
            _file("r2p1d50_K_200ep.pth", "r2plus1d_50", 700, _named("K")),
            _file("r2p1d50_KM_200ep.pth", "r2plus1d_50", 1039, _named("KM")),
        ),
    ),
    Layout(
        name="kenshohara_2018",
        source="kenshohara/3D-ResNets-PyTorch, branch CVPR2018",
        paper="Can spatiotemporal 3D CNNs retrace the history of 2D CNNs and ImageNet? arXiv:1711.09577",
        licence="MIT",
        url="https://drive.google.com/drive/folders/1zvl89AgFAApbH0At-gMuZSeQB_LpNP-M",
        rules=TRUNK,
        normalization={"rgb": ACTIVITYNET, "flow": BYTE_FLOW, "pose": ACTIVITYNET},
        options=_options_2018,
        files=(
            _file("resnet-18-kinetics.pth", "resnet3d_18", 400, "Kinetics-400", shortcut="A"),
            _file("resnet-34-kinetics.pth", "resnet3d_34", 400, "Kinetics-400", shortcut="A"),
            *(_file(f"resnet-{n}-kinetics.pth", f"resnet3d_{n}", 400, "Kinetics-400") for n in (50, 101, 152, 200)),
            _file("resnext-101-kinetics.pth", "resnext101", 400, "Kinetics-400"),
            _file("resnext-101-64f-kinetics.pth", "resnext101", 400, "Kinetics-400", 64),
            _file("resnext-101-kinetics-hmdb51_split1.pth", "resnext101", 51, "Kinetics-400, then HMDB51"),
            _file("resnext-101-64f-kinetics-hmdb51_split1.pth", "resnext101", 51, "Kinetics-400, then HMDB51", 64),
            _file("resnext-101-kinetics-ucf101_split1.pth", "resnext101", 101, "Kinetics-400, then UCF101"),
            _file("resnext-101-64f-kinetics-ucf101_split1.pth", "resnext101", 101, "Kinetics-400, then UCF101", 64),
        ),
    ),
)
