"""Keys of C3D: mmaction2, and the widespread PyTorch form of the authors' Caffe weights."""

from collections.abc import Iterator

from kinebert.training.models.inputs import C3D, RAW
from kinebert.training.models.weights.keys import Layout, PublishedFile

_PLACES = {
    "1a": "0.0",
    "2a": "1.0",
    "3a": "2.0",
    "3b": "2.2",
    "4a": "3.0",
    "4b": "3.2",
    "5a": "4.0",
    "5b": "4.2",
}
_CAFFE = {"1a": "1", "2a": "2"}
PAPER = "Learning spatiotemporal features with 3D convolutional networks, arXiv:1412.0767"


def _rules(prefix: str, inside: str, names: dict[str, str], classifier: str) -> Iterator[tuple[str, str]]:
    for name, place in names.items():
        yield rf"{prefix}conv{name}\.{inside}(weight|bias)", rf"backbone.stages.{place}.\1"
    yield rf"{prefix}(fc[67])\.(weight|bias)", r"backbone.\1.0.\2"
    yield rf"{classifier}\.(weight|bias)", r"classifier.\1"


def _file(name: str, num_classes: int | None, data: str) -> PublishedFile:
    return PublishedFile(name=name, backbone="c3d", num_classes=num_classes, num_frames=16, crop_size=112, data=data)


LAYOUTS = (
    Layout(
        name="c3d_caffe",
        source="DavideA/c3d-pytorch, converted from facebookarchive/C3D",
        paper=PAPER,
        licence="MIT",
        url="https://github.com/DavideA/c3d-pytorch",
        rules=tuple(_rules("", "", {_CAFFE.get(name, name): place for name, place in _PLACES.items()}, "fc8")),
        normalization={"rgb": RAW},
        files=(_file("c3d.pickle", 487, "Sports-1M"),),
    ),
    Layout(
        name="mmaction2_c3d",
        source="open-mmlab/mmaction2",
        paper=PAPER,
        licence="Apache-2.0",
        url="https://github.com/open-mmlab/mmaction2/tree/main/configs/recognition/c3d",
        rules=tuple(_rules(r"(?:backbone\.)?", r"conv\.", _PLACES, r"cls_head\.fc_cls")),
        normalization={"rgb": C3D},
        files=(
            _file("c3d_sports1m_pretrain_20201016-dcc47ddc.pth", None, "Sports-1M"),
            _file("c3d_sports1m_16x1x1_45e_ucf101_rgb_20201021-26655025.pth", 101, "Sports-1M, then UCF101"),
            _file(
                "c3d_sports1m-pretrained_8xb30-16x1x1-45e_ucf101-rgb_20220811-31723200.pth",
                101,
                "Sports-1M, then UCF101",
            ),
        ),
    ),
)
