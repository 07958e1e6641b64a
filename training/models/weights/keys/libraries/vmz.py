"""Keys of facebookresearch/VMZ in its Caffe2 form: R(2+1)D. Its PyTorch form is that of :mod:`.ig65m`.

Caffe2 numbers the residual blocks through all stages (``comp_0``, ``comp_1``, ...), so that each depth has its rules.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from kinebert.training.models.inputs import FLOW, KINETICS
from kinebert.training.models.weights.keys import Layout, PublishedFile, Shape
from kinebert.training.models.weights.keys.bert.kenshohara import known_options

_NORM = {"s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"}  # riv holds the variance all the same


def _rules(blocks: tuple[int, ...]) -> tuple[tuple[str, str], ...]:
    names = [f"layer{stage + 1}.{i}" for stage, count in enumerate(blocks) for i in range(count)]
    return (
        *_pair("conv1_middle", "conv1_middle_spatbn_relu", "stem.0", "stem.1"),
        *_pair("conv1", "conv1_spatbn_relu", "stem.3", "stem.4"),
        *(rule for number, name in enumerate(names) for rule in _block(number, name)),
        (r"last_out_L\d+_w", "classifier.weight"),
        (r"last_out_L\d+_b", "classifier.bias"),
    )


def _block(number: int, name: str) -> Iterator[tuple[str, str]]:
    for i in (1, 2):
        convolution, norm, ours = f"comp_{number}_conv_{i}", f"comp_{number}_spatbn_{i}", f"{name}.conv{i}"
        yield from _pair(f"{convolution}_middle", f"{norm}_middle", f"{ours}.0.0", f"{ours}.0.1")
        yield from _pair(convolution, norm, f"{ours}.0.3", f"{ours}.1")
    projection = f"shortcut_projection_{number}"
    yield from _pair(projection, f"{projection}_spatbn", f"{name}.downsample.0", f"{name}.downsample.1")


def _pair(convolution: str, norm: str, our_convolution: str, our_norm: str) -> Iterator[tuple[str, str]]:
    yield f"{convolution}_w", f"backbone.{our_convolution}.weight"
    for theirs, ours in _NORM.items():
        yield f"{norm}_{theirs}", f"backbone.{our_norm}.{ours}"


def _options(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any]:
    del shapes
    return known_options({"family": "ig65m"}, present)


def _layout(depth: int, blocks: tuple[int, ...], files: tuple[PublishedFile, ...]) -> Layout:
    return Layout(
        name=f"vmz_r2plus1d_{depth}",
        source="facebookresearch/VMZ, Caffe2",
        paper="A closer look at spatiotemporal convolutions for action recognition, arXiv:1711.11248",
        licence="Apache 2.0",
        url="https://github.com/facebookresearch/VMZ/blob/main/c2/tutorials/model_zoo.md",
        rules=_rules(blocks),
        ignored=(r".+_momentum", "lr", "model_iter", "epoch"),
        normalization={"rgb": KINETICS, "flow": FLOW, "pose": KINETICS},
        options=_options,
        files=files,
    )


def _file(name: str, num_classes: int, num_frames: int, data: str) -> PublishedFile:
    return PublishedFile(
        name=name, backbone="r2plus1d_34", num_classes=num_classes, num_frames=num_frames, crop_size=112, data=data
    )


LAYOUTS = (
    _layout(
        34,
        (3, 4, 6, 3),
        (
            _file("r2plus1d_34_clip8_ig65m_from_scratch_f79708462.pkl", 487, 8, "IG-65M"),
            _file("r2plus1d_34_clip8_ft_kinetics_from_ig65m_ f128022400.pkl", 400, 8, "IG-65M, then Kinetics-400"),
            _file("r2plus1d_34_clip32_ig65m_from_scratch_f102649996.pkl", 359, 32, "IG-65M"),
            _file("r2plus1d_34_clip32_ft_kinetics_from_ig65m_ f106169681.pkl", 400, 32, "IG-65M, then Kinetics-400"),
        ),
    ),
    _layout(18, (2, 2, 2, 2), ()),
)
