"""Keys of ResNets of one pathway: facebookresearch/SlowFast (PySlowFast), video-nonlocal-net and Tushar-N's port of it.

The Caffe2 files of PySlowFast and of video-nonlocal-net have the same names and shapes for networks that begin in other
ways: a file that is not asked for by its layout is read as what the network was built as, and the report says so.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kinebert.training.models.inputs import SLOWFAST, Normalization
from kinebert.training.models.weights.keys import Layout, PublishedFile, Shape
from kinebert.training.models.weights.keys.bert.kenshohara import TRUNK, known_options
from kinebert.training.models.weights.keys.libraries.pyslowfast import (
    EMBEDDINGS,
    LICENCE,
    PAPER,
    ZOO,
    Rule,
    caffe2_non_local_rules,
    nonlocal_blocks,
)

NON_LOCAL = "Non-local neural networks, arXiv:1711.07971"
BYTES = Normalization(mean=(114.75,) * 3, std=(57.375,) * 3, value_range=(0.0, 255.0))
_NORM = {"s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"}
_LAYERS = {stage: f"layer{stage - 1}" for stage in range(2, 6)}
"""Our names of the stages, by the numbers that PySlowFast and Caffe2 give them."""
_TWINS = (
    "Caffe2 files of PySlowFast and of video-nonlocal-net look alike: this one was taken for {}. If it is the other's, "
    "give its layout"
)


def _torch_rules() -> Iterator[Rule]:
    yield r"s1\.pathway0_stem\.conv\.weight", "backbone.stem.0.weight"
    yield r"s1\.pathway0_stem\.bn\.(.+)", r"backbone.stem.1.\1"
    for stage, layer in _LAYERS.items():
        theirs, ours = rf"s{stage}\.pathway0_res(\d+)\.", rf"backbone.{layer}.\1."
        looking = rf"s{stage}\.pathway0_nonlocal(\d+)\."
        yield theirs + r"branch1\.weight", ours + "downsample.0.weight"
        yield theirs + r"branch1_bn\.(.+)", ours + r"downsample.1.\2"
        for i, letter in enumerate("abc", start=1):
            yield theirs + rf"branch2\.{letter}\.weight", ours + f"conv{i}.weight"
            yield theirs + rf"branch2\.{letter}_bn\.(.+)", ours + rf"bn{i}.\2"
        for name, part in EMBEDDINGS.items():
            yield looking + rf"conv_{name}\.(.+)", ours + rf"behind.{part}.\2"
        yield looking + r"(?:bn|norm)\.(.+)", ours + r"behind.norm.\2"
    yield r"head\.projection\.(weight|bias)", r"classifier.\1"


def _caffe2_rules() -> Iterator[Rule]:
    def pair(conv: str, norm: str, our_conv: str, our_norm: str) -> Iterator[Rule]:
        yield f"{conv}_w", f"{our_conv}.weight"
        for theirs, part in _NORM.items():
            yield f"{norm}_{theirs}", f"{our_norm}.{part}"

    yield from pair("conv1", "res_conv1_bn", "backbone.stem.0", "backbone.stem.1")
    for stage, layer in _LAYERS.items():
        block, ours = rf"res{stage}_(\d+)_branch", rf"backbone.{layer}.\1."
        yield from pair(f"{block}1", f"{block}1_bn", f"{ours}downsample.0", f"{ours}downsample.1")
        for i, letter in enumerate("abc", start=1):
            yield from pair(f"{block}2{letter}", f"{block}2{letter}_bn", f"{ours}conv{i}", f"{ours}bn{i}")
        yield from caffe2_non_local_rules(str(stage), ours)
    yield "pred_w", "classifier.weight"
    yield "pred_b", "classifier.bias"


def _port_rules() -> Iterator[Rule]:
    looking = r"(layer[1-4]\.\d+)\.nl\."
    for name, part in EMBEDDINGS.items():
        yield looking + rf"{name}\.(.+)", rf"backbone.\1.behind.{part}.\2"
    yield looking + r"bn\.(.+)", r"backbone.\1.behind.norm.\2"
    yield from TRUNK


def _options(
    family: str, stem: str, looking: str, stages: Mapping[int, str], times: tuple[int, ...]
) -> Callable[[Mapping[str, Shape], Mapping[str, Any]], dict[str, Any] | None]:
    """Return what finds a network's options in a file.

    Args:
        family: Of the networks that have one.
        stem: Key of the first convolution.
        looking: Matches a key of every non-local block.
        stages: Our names of the stages by their numbers in keys.
        times: Frames that the first convolution may look at.
    """

    def options(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any] | None:
        if shapes.get(stem, (0, 0, 0))[2:3] not in [(time,) for time in times]:
            return None
        found = {"family": family, "nonlocal_blocks": nonlocal_blocks(shapes, looking, stages)}
        return known_options(found, present)

    return options


def _file(
    name: str, backbone: str, frames: int, interval: int, num_classes: int = 400, **options: Any
) -> PublishedFile:
    return PublishedFile(
        name=name,
        backbone=backbone,
        num_classes=num_classes,
        num_frames=frames,
        frame_interval=interval,
        crop_size=224,
        data="Kinetics-400" if num_classes == 400 else "ImageNet-1k",
        backbone_options=options,
    )


_CAFFE2 = tuple(_caffe2_rules())
_IGNORED = (r".*momentum", r"lr", r"model_iter")
_LOOKING = r"nonlocal_conv([2-5])_(\d+)_g_w"

LAYOUTS = (
    Layout(
        name="pyslowfast_resnet",
        source="facebookresearch/SlowFast (PySlowFast), C2D, I3D and Slow, files of PyTorch",
        paper=PAPER,
        licence=LICENCE,
        url=ZOO,
        rules=tuple(_torch_rules()),
        normalization={"rgb": SLOWFAST},
        options=_options(
            "pyslowfast",
            "s1.pathway0_stem.conv.weight",
            r"s([2-5])\.pathway0_nonlocal(\d+)\.conv_g\.weight",
            _LAYERS,
            (1, 5),
        ),
        files=(_file("R50_IN1K.pyth", "c2d_50", 1, 1, 1000, temporal_pool=False),),
    ),
    Layout(
        name="pyslowfast_resnet_caffe2",
        source="facebookresearch/SlowFast (PySlowFast), C2D, I3D and Slow, files of Caffe2",
        paper=PAPER,
        licence=LICENCE,
        url=ZOO,
        rules=_CAFFE2,
        ignored=_IGNORED,
        normalization={"rgb": SLOWFAST},
        options=_options("pyslowfast", "conv1_w", _LOOKING, _LAYERS, (1, 5)),
        caution=_TWINS.format("PySlowFast's"),
        files=(
            _file("C2D_NOPOOL_8x8_R50.pkl", "c2d_50", 8, 8, temporal_pool=False),
            _file("I3D_8x8_R50.pkl", "i3d_resnet50", 8, 8, family="pyslowfast"),
            _file("I3D_NLN_8x8_R50.pkl", "i3d_resnet50", 8, 8, family="pyslowfast", nonlocal_blocks="five"),
            _file("SLOWONLY_4x16_R50.pkl", "slow_50", 4, 16),
            _file("SLOWONLY_8x8_R50.pkl", "slow_50", 8, 8),
        ),
    ),
    Layout(
        name="nonlocal_net_caffe2",
        source="facebookresearch/video-nonlocal-net, files of Caffe2",
        paper=NON_LOCAL,
        licence="CC-BY-NC 4.0",
        url="https://github.com/facebookresearch/video-nonlocal-net#main-results",
        rules=_CAFFE2,
        ignored=_IGNORED,
        normalization={"rgb": BYTES},
        options=_options("nonlocal_net", "conv1_w", _LOOKING, _LAYERS, (5,)),
        caution=_TWINS.format("video-nonlocal-net's"),
        files=(
            _file("i3d_baseline_32x2_IN_pretrain_400k.pkl", "i3d_resnet50", 32, 2),
            _file("i3d_nonlocal_32x2_IN_pretrain_400k.pkl", "i3d_resnet50", 32, 2, nonlocal_blocks="five"),
        ),
    ),
    Layout(
        name="tushar_i3d_resnet50",
        source="Tushar-N/pytorch-resnet3d, made of video-nonlocal-net's files by its utils/convert_weights.py",
        paper=NON_LOCAL,
        licence="CC-BY-NC 4.0, as the files that it is made of",
        url="https://github.com/Tushar-N/pytorch-resnet3d",
        rules=tuple(_port_rules()),
        normalization={"rgb": BYTES},
        options=_options(
            "nonlocal_net",
            "conv1.weight",
            r"layer([1-4])\.(\d+)\.nl\.g\.weight",
            {stage: f"layer{stage}" for stage in range(1, 5)},
            (5,),
        ),
        files=(
            _file("i3d_r50_kinetics.pth", "i3d_resnet50", 32, 2),
            _file("i3d_r50_nl_kinetics.pth", "i3d_resnet50", 32, 2, nonlocal_blocks="five"),
        ),
    ),
)
