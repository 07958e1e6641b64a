"""Keys of open-mmlab/mmaction2: SlowFast, and its ResNets of one pathway, SlowOnly and I3D, with non-local blocks too.

What a file does not tell is left as the network was built: whether I3D's non-local blocks have a softmax.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kinebert.training.models.inputs import IMAGENET, Normalization
from kinebert.training.models.weights.keys import Layout, PublishedFile, Shape
from kinebert.training.models.weights.keys.bert.kenshohara import known_options
from kinebert.training.models.weights.keys.libraries.pyslowfast import ALPHA, PAPER, Rule, nonlocal_blocks

LICENCE = "Apache-2.0"
CONFIGS = "https://github.com/open-mmlab/mmaction2/tree/main/configs/recognition"
BYTE_FLOW = Normalization(mean=(128.0, 128.0), std=(128.0, 128.0), value_range=(0.0, 255.0))
_LOOKING = {"theta": "query", "phi": "key", "g": "value"}
_STAGES = {stage: f"layer{stage}" for stage in range(1, 5)}


def _block_rules(theirs: str, ours: str) -> Iterator[Rule]:
    """Return the rules of a residual block; ``theirs`` and ``ours`` end in a dot and have two groups."""
    yield theirs + r"conv([1-3])\.conv\.weight", ours + r"conv\3.weight"
    yield theirs + r"conv([1-3])\.bn\.(.+)", ours + r"bn\3.\4"
    yield theirs + r"downsample\.conv\.weight", ours + "downsample.0.weight"
    yield theirs + r"downsample\.bn\.(.+)", ours + r"downsample.1.\3"
    for name, part in _LOOKING.items():
        yield theirs + rf"non_local_block\.{name}\.(?:0\.)?conv\.(.+)", ours + rf"behind.{part}.\3"
    yield theirs + r"non_local_block\.conv_out\.conv\.weight", ours + "behind.output.weight"
    yield theirs + r"non_local_block\.conv_out\.bn\.(.+)", ours + r"behind.norm.\3"


def _resnet_rules() -> Iterator[Rule]:
    yield r"conv1\.conv\.weight", "backbone.stem.0.weight"
    yield r"conv1\.bn\.(.+)", r"backbone.stem.1.\1"
    yield from _block_rules(r"(layer[1-4])\.(\d+)\.", r"backbone.\1.\2.")
    yield r"cls_head\.fc_cls\.(weight|bias)", r"classifier.\1"


def _slowfast_rules() -> Iterator[Rule]:
    for path in ("slow", "fast"):
        yield rf"{path}_path\.conv1\.conv\.weight", f"backbone.{path}.stem.0.weight"
        yield rf"{path}_path\.conv1\.bn\.(.+)", rf"backbone.{path}.stem.1.\1"
        for stage in range(1, 5):
            theirs = rf"{path}_path\.layer({stage})\.(\d+)\."
            yield from _block_rules(theirs, rf"backbone.{path}.res{stage + 1}.\2.")
    for i, source in enumerate(("conv1", "layer1", "layer2", "layer3")):
        yield rf"slow_path\.{source}_lateral\.conv\.weight", f"backbone.lateral.{i}.0.weight"
        yield rf"slow_path\.{source}_lateral\.bn\.(.+)", rf"backbone.lateral.{i}.1.\1"
    yield r"cls_head\.fc_cls\.(weight|bias)", r"classifier.\1"


def _resnet_options(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any] | None:
    if shapes.get("conv1.conv.weight", ())[2:3] not in ((1,), (5,)):
        return None
    pattern = r"layer([1-4])\.(\d+)\.non_local_block\.g\.(?:0\.)?conv\.weight"
    looking = nonlocal_blocks(shapes, pattern, _STAGES)
    found = {"family": "mmaction2", "nonlocal_blocks": looking}
    if looking and not any(re.search(r"non_local_block\.theta\.", key) for key in shapes):
        found["weighing"] = "gaussian"
    elif looking and shapes["conv1.conv.weight"][2] == 1:
        found["weighing"] = "softmax"  # what SlowOnly was published with, and our network of that name was not
    return known_options(found, present)


def _slowfast_options(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any]:
    made = shapes.get("slow_path.conv1_lateral.conv.weight", ())
    if len(made) != 5:
        return {}
    stems = [shapes.get(f"{path}_path.conv1.conv.weight", (1,))[0] for path in ("slow", "fast")]
    found: dict[str, Any] = {
        "beta": stems[0] // stems[1],
        "fusion_ratio": made[0] // made[1],
        "fusion_kernel": made[2],
        "lateral_norm": "slow_path.conv1_lateral.bn.weight" in shapes,
    }
    if made[2] != present.get("fusion_kernel") and made[2] in ALPHA:
        found["alpha"] = ALPHA[made[2]]
    if present.get("picking") == "auto":
        found["picking"] = "stride"
    return known_options(found, present)


def _file(name: str, backbone: str, frames: int, interval: int, **facts: Any) -> PublishedFile:
    about = {"num_classes": 400, "crop_size": 224, **facts}
    return PublishedFile(name=name, backbone=backbone, num_frames=frames, frame_interval=interval, **about)


def _slow(name: str, frames: int = 4, interval: int = 16, looking: str = "", **facts: Any) -> PublishedFile:
    weighing = {"nonlocal_blocks": looking, "weighing": "softmax"} if looking else {}
    options = {"family": "mmaction2", **weighing}
    return _file(f"slowonly_{name}.pth", "slow_50", frames, interval, backbone_options=options, **facts)


def _i3d(name: str, **options: str) -> PublishedFile:
    return _file(f"i3d_{name}.pth", "i3d_resnet50", 32, 2, backbone_options={"family": "mmaction2", **options})


def _slowfast(name: str, backbone: str = "slowfast_50", **facts: Any) -> PublishedFile:
    kernel = {"alpha": 8, "fusion_kernel": 5} if "4x16" in name else {"fusion_kernel": 7}
    options = {**kernel, "lateral_norm": False, "picking": "stride"}
    return _file(f"slowfast_{name}.pth", backbone, 32, 2, backbone_options=options, **facts)


_OTHERS = "layer2.0 layer2.2 layer3.0 layer3.2 layer3.4"

LAYOUTS = (
    Layout(
        name="mmaction2_path_resnet",
        source="open-mmlab/mmaction2, SlowOnly and I3D",
        paper=f"{PAPER}; Non-local neural networks, arXiv:1711.07971",
        licence=LICENCE,
        url=CONFIGS,
        rules=tuple(_resnet_rules()),
        normalization={"rgb": IMAGENET, "flow": BYTE_FLOW},
        options=_resnet_options,
        files=(
            _slow("r50_4x16x1_256e_kinetics400_rgb_20200704-a69556c6"),
            _slow("r50_256p_4x16x1_256e_kinetics400_rgb_20200820-bea7701f"),
            _slow("r50_video_320p_4x16x1_256e_kinetics400_rgb_20201014-c9cdc656"),
            _slow("imagenet_pretrained_r50_4x16x1_150e_kinetics400_rgb_20200912-1e8fc736"),
            _slow("r50_8x8x1_256e_kinetics400_rgb_20200703-a79c555a", 8, 8),
            _slow("r50_256p_8x8x1_256e_kinetics400_rgb_20200820-75851a7d", 8, 8),
            _slow("imagenet_pretrained_r50_8x8x1_150e_kinetics400_rgb_20200912-3f9ce182", 8, 8),
            _slow("nl_embedded_gaussian_r50_4x16x1_150e_kinetics400_rgb_20210308-0d6e5a69", looking=_OTHERS),
            _slow("nl_embedded_gaussian_r50_8x8x1_150e_kinetics400_rgb_20210308-e8dd9e82", 8, 8, _OTHERS),
            _slow("r50_4x16x1_256e_kinetics400_flow_20200704-decb8568", modality="flow"),
            _slow("r50_8x8x1_256e_kinetics400_flow_20200704-6b384243", 8, 8, modality="flow"),
            _slow("r50_omni_4x16x1_kinetics400_rgb_20200926-51b1f7ea", data="OmniSource"),
            _slow("r50_video_8x8x1_256e_kinetics600_rgb_20201015-81e5153e", 8, 8, num_classes=600, data="Kinetics-600"),
            _slow("r50_video_8x8x1_256e_kinetics700_rgb_20201015-9250f662", 8, 8, num_classes=700, data="Kinetics-700"),
            _i3d("r50_32x2x1_100e_kinetics400_rgb_20200614-c25ef9a4"),
            _i3d("r50_256p_32x2x1_100e_kinetics400_rgb_20200801-7d9f44de"),
            _i3d("r50_video_32x2x1_100e_kinetics400_rgb_20200826-e31c6f52"),
            _i3d("r50_dense_32x2x1_100e_kinetics400_rgb_20200616-2bbb4361"),
            _i3d("r50_dense_256p_32x2x1_100e_kinetics400_rgb_20200725-24eb54cc"),
            _i3d("r50_fast_32x2x1_100e_kinetics400_rgb_20200612-000e4d2a"),
            _i3d("r50_fast_256p_32x2x1_100e_kinetics400_rgb_20200817-4e90d1d5"),
            _i3d("nl_embedded_gaussian_r50_32x2x1_100e_kinetics400_rgb_20200813-6e6aef1b", nonlocal_blocks="five"),
            _i3d(
                "nl_gaussian_r50_32x2x1_100e_kinetics400_rgb_20200815-17f84aa2",
                nonlocal_blocks="five",
                weighing="gaussian",
            ),
            _i3d(
                "nl_dot_product_r50_32x2x1_100e_kinetics400_rgb_20200814-7c30d5bb",
                nonlocal_blocks="five",
                weighing="dot_product",
            ),
        ),
    ),
    Layout(
        name="mmaction2_slowfast",
        source="open-mmlab/mmaction2, SlowFast",
        paper=PAPER,
        licence=LICENCE,
        url=f"{CONFIGS}/slowfast",
        rules=tuple(_slowfast_rules()),
        normalization={"rgb": IMAGENET},
        options=_slowfast_options,
        files=(
            _slowfast("r50_4x16x1_256e_kinetics400_rgb_20210722-04e43ed4"),
            _slowfast("r50_256p_4x16x1_256e_kinetics400_rgb_20200728-145f1097"),
            _slowfast("r50_video_4x16x1_256e_kinetics400_rgb_20200826-f85b90c5"),
            _slowfast("prebn_r50_4x16x1_256e_kinetics400_rgb_20210722-bb725050"),
            _slowfast("r50_8x8x1_256e_kinetics400_rgb_20200716-73547d2b"),
            _slowfast("r50_8x8x1_256e_kinetics400_rgb_steplr-43988bac"),
            _slowfast("prebn_r50_8x8x1_256e_kinetics400_rgb_steplr-28474e54"),
            _slowfast("multigrid_r50_8x8x1_358e_kinetics400_rgb-f82bd304"),
            _slowfast("r101_8x8x1_256e_kinetics400_rgb_20210218-0dd54025", "slowfast_101"),
        ),
    ),
)
