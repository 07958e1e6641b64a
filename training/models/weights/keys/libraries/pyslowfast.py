"""Keys of facebookresearch/SlowFast (PySlowFast): SlowFast as PyTorch files, and as Caffe2 files with blobs.

A file does not say which frames it was trained on: PySlowFast picks the slow pathway's by linspace, and connects the
pathways of 50 layers by kernels of 7 where alpha is 4 (8x8), of 5 where it is 8 (4x16). With 101 layers, or with
non-local blocks, the kernels are 5 long whatever alpha is.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kinebert.training.models.inputs import SLOWFAST
from kinebert.training.models.non_local import FIVE
from kinebert.training.models.weights.keys import Layout, PublishedFile, Shape
from kinebert.training.models.weights.keys.bert.kenshohara import known_options

_PATHS = {"slow": 0, "fast": 1}
ALPHA = {7: 4, 5: 8}
"""Frames of the fast pathway per frame of the slow one, by the length of the kernels between the pathways."""
_CAFFE2_NORM = {"s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"}

PAPER = "SlowFast networks for video recognition, arXiv:1812.03982"
LICENCE = "Apache-2.0"
ZOO = "https://github.com/facebookresearch/SlowFast/blob/main/MODEL_ZOO.md"

Rule = tuple[str, str]
OptionsOf = Callable[[Mapping[str, Shape], Mapping[str, Any]], dict[str, Any]]
EMBEDDINGS = {"theta": "query", "phi": "key", "g": "value", "out": "output"}
"""PySlowFast's names of a non-local block's convolutions, and ours."""


def trunk_rules(prefix: str = "") -> tuple[Rule, ...]:
    """Return the rules of both pathways and of the connections between them; ``prefix`` is a regular expression."""
    return (
        *(rule for path, number in _PATHS.items() for rule in _path_rules(prefix, path, number)),
        *(
            rule
            for stage in range(1, 5)
            for rule in (
                (rf"{prefix}s{stage}_fuse\.conv_f2s\.weight", f"backbone.lateral.{stage - 1}.0.weight"),
                (rf"{prefix}s{stage}_fuse\.bn\.(.+)", rf"backbone.lateral.{stage - 1}.1.\1"),
            )
        ),
    )


def _path_rules(prefix: str, path: str, number: int) -> tuple[Rule, ...]:
    block, ours = rf"{prefix}s([2-5])\.pathway{number}_res(\d+)\.", rf"backbone.{path}.res\1.\2."
    looking = rf"{prefix}s([2-5])\.pathway{number}_nonlocal(\d+)\."
    return (
        *((rf"{looking}conv_{theirs}\.(.+)", rf"{ours}behind.{name}.\3") for theirs, name in EMBEDDINGS.items()),
        (rf"{looking}(?:bn|norm)\.(.+)", rf"{ours}behind.norm.\3"),
        (rf"{prefix}s1\.pathway{number}_stem\.conv\.weight", f"backbone.{path}.stem.0.weight"),
        (rf"{prefix}s1\.pathway{number}_stem\.bn\.(.+)", rf"backbone.{path}.stem.1.\1"),
        (rf"{block}branch1\.weight", rf"{ours}downsample.0.weight"),
        (rf"{block}branch1_bn\.(.+)", rf"{ours}downsample.1.\3"),
        *(
            rule
            for i, letter in enumerate("abc", start=1)
            for rule in (
                (rf"{block}branch2\.{letter}\.weight", rf"{ours}conv{i}.weight"),
                (rf"{block}branch2\.{letter}_bn\.(.+)", rf"{ours}bn{i}.\3"),
            )
        ),
    )


def _caffe2_rules() -> tuple[Rule, ...]:
    rules: list[Rule] = []

    def add(conv: str, ours: str, norm: str, our_norm: str) -> None:
        rules.append((rf"{conv}_w", f"{ours}.weight"))
        rules.extend((rf"{norm}_{theirs}", f"{our_norm}.{name}") for theirs, name in _CAFFE2_NORM.items())

    for path, sign in (("slow", ""), ("fast", "t_")):
        add(f"{sign}conv1", f"backbone.{path}.stem.0", f"{sign}res_conv1_bn", f"backbone.{path}.stem.1")
        block, ours = rf"{sign}res([2-5])_(\d+)_branch", rf"backbone.{path}.res\1.\2."
        add(f"{block}1", f"{ours}downsample.0", f"{block}1_bn", f"{ours}downsample.1")
        for i, letter in enumerate("abc", start=1):
            add(f"{block}2{letter}", f"{ours}conv{i}", f"{block}2{letter}_bn", f"{ours}bn{i}")
    rules += caffe2_non_local_rules(r"([2-5])", r"backbone.slow.res\1.\2.")
    for i, source in enumerate(("t_pool1", *(rf"t_res{stage}_\d+_branch2c_bn" for stage in (2, 3, 4)))):
        lateral = f"backbone.lateral.{i}"
        add(f"{source}_subsample", f"{lateral}.0", f"{source}_subsample_bn", f"{lateral}.1")
    return (*rules, ("pred_w", "classifier.weight"), ("pred_b", "classifier.bias"))


def caffe2_non_local_rules(stage: str, ours: str) -> list[Rule]:
    """Return the rules of the non-local blocks of the stages that the expression ``stage`` matches."""
    looking = rf"nonlocal_conv{stage}_(\d+)_"
    parts = [
        (rf"{looking}{theirs}_{letter}", f"{ours}behind.{name}.{part}")
        for theirs, name in EMBEDDINGS.items()
        for letter, part in (("w", "weight"), ("b", "bias"))
    ]
    return parts + [(rf"{looking}bn_{theirs}", f"{ours}behind.norm.{name}") for theirs, name in _CAFFE2_NORM.items()]


def nonlocal_blocks(keys: Iterable[str], pattern: str, stages: Mapping[int, str]) -> str:
    """Return the option of that name for what a file holds.

    Args:
        keys: Of the file.
        pattern: Of a key that every non-local block has, with the number of its stage and of the block.
        stages: Our names of the stages, by their numbers in keys.
    """
    found = sorted((int(match[1]), int(match[2])) for key in keys if (match := re.fullmatch(pattern, key)))
    first = min(stages)
    if found == [(first + stage, block) for stage, blocks in FIVE for block in blocks]:
        return "five"
    return " ".join(f"{stages[stage]}.{block}" for stage, block in found)


def shape_options(lateral: str, slow: str, fast: str) -> OptionsOf:
    """Return what finds a network's options in the shapes of its first lateral connection and of its stems."""

    def options(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any]:
        made = shapes.get(lateral, ())
        if len(made) != 5 or slow not in shapes or fast not in shapes:
            return {}
        found = {
            "beta": shapes[slow][0] // shapes[fast][0],
            "fusion_ratio": made[0] // made[1],
            "fusion_kernel": made[2],
        }
        if made[2] != present.get("fusion_kernel") and made[2] in ALPHA:
            found["alpha"] = ALPHA[made[2]]
        return known_options(found, present)

    return options


def _published(options: OptionsOf, kernels: Mapping[str, str], looking: str) -> OptionsOf:
    """Return ``options``, and those that files of PySlowFast alone have.

    Args:
        options: Of the connections between the pathways.
        kernels: Of the longest stage's first convolutions: a template of their keys for each pathway.
        looking: Matches a key of every non-local block.
    """

    def all_options(shapes: Mapping[str, Shape], present: Mapping[str, Any]) -> dict[str, Any]:
        looking_blocks = nonlocal_blocks(shapes, looking, {i: f"res{i}" for i in range(2, 6)})
        found = {**options(shapes, present), **known_options({"nonlocal_blocks": looking_blocks}, present)}
        if looking_blocks or "slow_temporal_blocks" in present:
            found.pop("alpha", None)  # the kernels do not tell it here
        for path, template in kernels.items():
            if f"{path}_temporal_blocks" in present:
                extents = [shapes.get(template.format(i), (0, 0, 0))[2] for i in range(23)]
                found[f"{path}_temporal_blocks"] = max(1, sum(extent > 1 for extent in extents))
        picking = {"picking": "linspace"} if present.get("picking") == "auto" else {}
        return {**found, **picking}

    return all_options


def _file(
    name: str,
    data: str = "Kinetics-400",
    num_classes: int = 400,
    num_frames: int = 32,
    backbone: str = "slowfast_50",
    **options: Any,
) -> PublishedFile:
    options |= {"alpha": 8, "fusion_kernel": 5} if "4x16" in name else {}
    return PublishedFile(
        name=name,
        backbone=backbone,
        num_classes=num_classes,
        num_frames=num_frames,
        crop_size=224,
        frame_interval=2,
        data=data,
        backbone_options={**options, "picking": "linspace", "fast_frames": num_frames},
    )


LAYOUTS = (
    Layout(
        name="pyslowfast",
        source="facebookresearch/SlowFast (PySlowFast), files of PyTorch",
        paper=PAPER,
        licence=LICENCE,
        url=ZOO,
        rules=(*trunk_rules(), (r"head\.projection\.(weight|bias)", r"classifier.\1")),
        normalization={"rgb": SLOWFAST},
        options=_published(
            shape_options("s1_fuse.conv_f2s.weight", "s1.pathway0_stem.conv.weight", "s1.pathway1_stem.conv.weight"),
            {path: f"s4.pathway{number}_res{{}}.branch2.a.weight" for path, number in _PATHS.items()},
            r"s([2-5])\.pathway0_nonlocal(\d+)\.conv_g\.weight",
        ),
        files=(
            _file("SLOWFAST_8x8_R50_stepwise.pkl"),
            _file("SLOWFAST_8x8_R50_stepwise_multigrid.pkl"),
            *(
                _file(f"SLOWFAST_16x8_R50{training}.pkl", f"{data}, channels in the order BGR", classes, 64)
                for data, classes in (("Something-Something V2", 174), ("Charades", 157))
                for training in ("", "_multigrid")
            ),
        ),
        variants=(
            _file("8x8_R101_101_101", backbone="slowfast_101"),
            _file("8x8_R101_50_50", backbone="slowfast_101", slow_temporal_blocks=6, fast_temporal_blocks=6),
        ),
    ),
    Layout(
        name="pyslowfast_caffe2",
        source="facebookresearch/SlowFast (PySlowFast), files of Caffe2",
        paper=PAPER,
        licence=LICENCE,
        url=ZOO,
        rules=_caffe2_rules(),
        ignored=(r".*momentum", r"lr", r"model_iter"),
        normalization={"rgb": SLOWFAST},
        options=_published(
            shape_options("t_pool1_subsample_w", "conv1_w", "t_conv1_w"),
            {"slow": "res4_{}_branch2a_w", "fast": "t_res4_{}_branch2a_w"},
            r"nonlocal_conv([2-5])_(\d+)_g_w",
        ),
        files=(
            _file("SLOWFAST_8x8_R50.pkl"),
            _file("SLOWFAST_4x16_R50.pkl"),
            *(
                _file(
                    f"SLOWFAST_{frames}x2_R101_50_50{version}.pkl",
                    "Kinetics-600, or AVA from there (the file of the same name)",
                    600,
                    frames,
                    "slowfast_101",
                    slow_temporal_blocks=6,
                    fast_temporal_blocks=6,
                )
                for frames, version in ((32, ""), (32, "_v2.1"), (64, ""))
            ),
        ),
    ),
)
