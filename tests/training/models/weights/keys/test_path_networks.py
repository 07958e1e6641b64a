"""Networks of one and two pathways and X3D under other programs' names: what answers as the golden file of one program.

Written from the programs' own conversions of names; no file of theirs is here.
"""

import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from kinebert.training.models import Recognizer, build_recognizer, load_published
from kinebert.training.models.sizes.unallocated import unallocated
from tests.helpers import golden

NETWORKS = {
    "pyslowfast_c2d_8x8_r50": "c2d_50",
    "pyslowfast_slow_8x8_r50": "slow_50",
    "pyslowfast_slowfast_8x8_r101_50_50": "slowfast_101",
    "pyslowfast_x3d_m": "x3d_l",
    "tushar_i3res50_nl": "i3d_resnet50",
}


def network(name: str, **changes: Any) -> Recognizer:
    frames, pixels = golden.arrays(name)["input_shape"][2:4].tolist()
    config = {"backbone": NETWORKS[name], "head": "tgap", "num_classes": 51, "clip_length": frames, "size": pixels}
    return build_recognizer(**{**config, **changes})


Renaming = tuple[tuple[str, str], ...]
CAFFE2_NORM = {"weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"}
PYSLOWFAST_TO_CAFFE2: Renaming = (
    (r"s1\.pathway0_stem\.conv\.weight", "conv1_w"),
    (r"s1\.pathway0_stem\.bn\.(\w+)", r"res_conv1_bn_{\1}"),
    (r"s1\.pathway1_stem\.conv\.weight", "t_conv1_w"),
    (r"s1\.pathway1_stem\.bn\.(\w+)", r"t_res_conv1_bn_{\1}"),
    (r"s1_fuse\.conv_f2s\.weight", "t_pool1_subsample_w"),
    (r"s1_fuse\.bn\.(\w+)", r"t_pool1_subsample_bn_{\1}"),
    (r"s2_fuse\.conv_f2s\.weight", "t_res2_2_branch2c_bn_subsample_w"),
    (r"s2_fuse\.bn\.(\w+)", r"t_res2_2_branch2c_bn_subsample_bn_{\1}"),
    (r"s3_fuse\.conv_f2s\.weight", "t_res3_3_branch2c_bn_subsample_w"),
    (r"s3_fuse\.bn\.(\w+)", r"t_res3_3_branch2c_bn_subsample_bn_{\1}"),
    (r"s4_fuse\.conv_f2s\.weight", "t_res4_22_branch2c_bn_subsample_w"),
    (r"s4_fuse\.bn\.(\w+)", r"t_res4_22_branch2c_bn_subsample_bn_{\1}"),
    (r"s(\d)\.pathway(\d)_res(\d+)\.branch1\.weight", r"<\2>res\1_\3_branch1_w"),
    (r"s(\d)\.pathway(\d)_res(\d+)\.branch1_bn\.(\w+)", r"<\2>res\1_\3_branch1_bn_{\4}"),
    (r"s(\d)\.pathway(\d)_res(\d+)\.branch2\.([abc])\.weight", r"<\2>res\1_\3_branch2\4_w"),
    (r"s(\d)\.pathway(\d)_res(\d+)\.branch2\.([abc])_bn\.(\w+)", r"<\2>res\1_\3_branch2\4_bn_{\5}"),
    (r"head\.projection\.weight", "pred_w"),
    (r"head\.projection\.bias", "pred_b"),
)
TUSHAR_TO_CAFFE2: Renaming = (
    (r"conv1\.weight", "conv1_w"),
    (r"bn1\.(\w+)", r"res_conv1_bn_{\1}"),
    (r"layer(\d)\.(\d)\.downsample\.0\.weight", r"res[\1]_\2_branch1_w"),
    (r"layer(\d)\.(\d)\.downsample\.1\.(\w+)", r"res[\1]_\2_branch1_bn_{\3}"),
    (r"layer(\d)\.(\d)\.conv1\.weight", r"res[\1]_\2_branch2a_w"),
    (r"layer(\d)\.(\d)\.conv2\.weight", r"res[\1]_\2_branch2b_w"),
    (r"layer(\d)\.(\d)\.conv3\.weight", r"res[\1]_\2_branch2c_w"),
    (r"layer(\d)\.(\d)\.bn1\.(\w+)", r"res[\1]_\2_branch2a_bn_{\3}"),
    (r"layer(\d)\.(\d)\.bn2\.(\w+)", r"res[\1]_\2_branch2b_bn_{\3}"),
    (r"layer(\d)\.(\d)\.bn3\.(\w+)", r"res[\1]_\2_branch2c_bn_{\3}"),
    (r"layer(\d)\.(\d)\.nl\.bn\.(\w+)", r"nonlocal_conv[\1]_\2_bn_{\3}"),
    (r"layer(\d)\.(\d)\.nl\.(\w+)\.weight", r"nonlocal_conv[\1]_\2_\3_w"),
    (r"layer(\d)\.(\d)\.nl\.(\w+)\.bias", r"nonlocal_conv[\1]_\2_\3_b"),
    (r"fc\.weight", "pred_w"),
    (r"fc\.bias", "pred_b"),
)
X3D_TO_MMACTION2: Renaming = (
    (r"s1\.pathway0_stem\.conv_xy\.weight", "backbone.conv1_s.conv.weight"),
    (r"s1\.pathway0_stem\.conv\.weight", "backbone.conv1_t.conv.weight"),
    (r"s1\.pathway0_stem\.bn\.(\w+)", r"backbone.conv1_t.bn.\1"),
    (r"s(\d)\.pathway0_res(\d+)\.branch1\.weight", r"backbone.layer(\1).\2.downsample.conv.weight"),
    (r"s(\d)\.pathway0_res(\d+)\.branch1_bn\.(\w+)", r"backbone.layer(\1).\2.downsample.bn.\3"),
    (r"s(\d)\.pathway0_res(\d+)\.branch2\.([abc])\.weight", r"backbone.layer(\1).\2.conv<\3>.conv.weight"),
    (r"s(\d)\.pathway0_res(\d+)\.branch2\.([abc])_bn\.(\w+)", r"backbone.layer(\1).\2.conv<\3>.bn.\4"),
    (r"s(\d)\.pathway0_res(\d+)\.branch2\.se\.(fc\d\.\w+)", r"backbone.layer(\1).\2.se_module.\3"),
    (r"head\.conv_5\.weight", "backbone.conv5.conv.weight"),
    (r"head\.conv_5_bn\.(\w+)", r"backbone.conv5.bn.\1"),
    (r"head\.lin_5\.weight", "cls_head.fc1.weight"),
    (r"head\.projection\.(\w+)", r"cls_head.fc2.\1"),
)
SLOW_TO_MMACTION2: Renaming = (
    (r"s1\.pathway0_stem\.conv\.weight", "backbone.conv1.conv.weight"),
    (r"s1\.pathway0_stem\.bn\.(\w+)", r"backbone.conv1.bn.\1"),
    *X3D_TO_MMACTION2[3:7],
    (r"head\.projection\.(\w+)", r"cls_head.fc_cls.\1"),
)


def renamed(state: Mapping[str, Tensor], renaming: Renaming) -> dict[str, Tensor]:
    """Return ``state`` under other names: {} is a norm's part, <> a pathway or a convolution, [] and () are stages."""
    found = {}
    for key, tensor in state.items():
        if key.endswith("num_batches_tracked") and "{" in "".join(name for _, name in renaming):
            continue  # Caffe2 has none
        pattern, template = next(rule for rule in renaming if re.fullmatch(rule[0], key))
        name = re.sub(pattern, template, key)
        name = re.sub(r"\{(\w+)\}", lambda match: CAFFE2_NORM[match[1]], name)
        name = re.sub(r"<([01])>", lambda match: ["", "t_"][int(match[1])], name)
        name = re.sub(r"<([abc])>", lambda match: str("abc".index(match[1]) + 1), name)
        name = re.sub(r"\[(\d)\]", lambda match: str(int(match[1]) + 1), name)
        found[re.sub(r"\((\d)\)", lambda match: str(int(match[1]) - 1), name)] = tensor
    assert len(found) <= len(state)
    return found


@pytest.mark.parametrize(
    ("name", "renaming", "layout", "options"),
    [
        ("pyslowfast_c2d_8x8_r50", PYSLOWFAST_TO_CAFFE2, "pyslowfast_resnet_caffe2", {}),
        ("pyslowfast_x3d_m", X3D_TO_MMACTION2, "mmaction2_x3d", {}),
        ("pyslowfast_slow_8x8_r50", SLOW_TO_MMACTION2, "mmaction2_path_resnet", {}),
        pytest.param("tushar_i3res50_nl", TUSHAR_TO_CAFFE2, "nonlocal_net_caffe2", {}, marks=pytest.mark.slow),
        pytest.param(
            "pyslowfast_slowfast_8x8_r101_50_50",
            PYSLOWFAST_TO_CAFFE2,
            "pyslowfast_caffe2",
            {"picking": "auto"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_other_programs_names_for_the_same_network(
    name: str, renaming: Renaming, layout: str, options: dict[str, Any]
) -> None:
    net = network(name, backbone_options=options)
    report = load_published(net, renamed(golden.state(name), renaming))
    assert report.layout == layout
    assert not any((report.missing, report.unexpected, report.reinitialized))
    with torch.inference_mode():
        error = golden.relative_error(net.eval()(golden.given(name)), golden.answer(name))
    assert error < (3e-4 if name.startswith("tushar") else 1e-5), "as test_golden_path_networks.py explains"


def test_files_that_look_alike_are_read_as_the_network_was_built() -> None:
    state = renamed(golden.unallocated("tushar_i3res50_nl"), TUSHAR_TO_CAFFE2)
    for family, layout in (("nonlocal_net", "nonlocal_net_caffe2"), ("pyslowfast", "pyslowfast_resnet_caffe2")):
        with unallocated():
            net = network("tushar_i3res50_nl", backbone_options={"family": family})
        report = load_published(net, state)
        assert report.layout == layout
        assert any("look alike" in note for note in report.notes)
        assert net.config["backbone_options"] == {"family": family, "nonlocal_blocks": "five", "weighing": "softmax"}


def mmaction2_i3d(without: str = "output") -> dict[str, Tensor]:
    """Return mmaction2's keys of I3D with non-local blocks: 380 of them."""
    state: dict[str, Tensor] = {}
    for key, tensor in golden.unallocated("tushar_i3res50_nl").items():
        if key.endswith("nl.out.bias") or f"nl.{without}." in key:
            continue
        name = re.sub(r"\.nl\.(g|phi)\.", r".non_local_block.\1.0.conv.", key)
        name = name.replace(".nl.theta.", ".non_local_block.theta.conv.")
        name = name.replace(".nl.out.", ".non_local_block.conv_out.conv.").replace(
            ".nl.bn.", ".non_local_block.conv_out.bn."
        )
        name = re.sub(r"(?<!\.)\b(conv\d)\.weight$", r"\1.conv.weight", name)
        name = re.sub(r"(layer\d\.\d\.conv\d)\.weight$", r"\1.conv.weight", name)
        name = re.sub(r"(?<!conv_out\.)\bbn(\d)\.", r"conv\1.bn.", name)
        name = name.replace("downsample.0.", "downsample.conv.").replace("downsample.1.", "downsample.bn.")
        state[("cls_head.fc_cls" + name[2:]) if name.startswith("fc.") else f"backbone.{name}"] = tensor
    return state


def test_mmaction2s_i3d_becomes_its_variant() -> None:
    state = mmaction2_i3d()
    assert len(state) == 380
    with unallocated():
        net = network("tushar_i3res50_nl")
    report = load_published(net, state)
    assert report.layout == "mmaction2_path_resnet"
    assert not any((report.missing, report.unexpected, report.reinitialized, report.ignored))
    assert net.config["backbone_options"] == {"family": "mmaction2", "nonlocal_blocks": "five", "weighing": "softmax"}
    gaussian = {key: tensor for key, tensor in state.items() if ".theta." not in key and ".phi." not in key}
    with unallocated():
        other = network("tushar_i3res50_nl")
    assert not load_published(other, gaussian).missing
    assert other.config["backbone_options"]["weighing"] == "gaussian"


def test_mmaction2s_slowfast_has_bare_connections() -> None:
    state: dict[str, Tensor] = {}
    for key, tensor in golden.unallocated("pyslowfast_slowfast_8x8_r50").items():
        if "_fuse.bn" in key:
            continue
        key = re.sub(r"s1_fuse\.conv_f2s", "slow_path.conv1_lateral.conv", key)
        key = re.sub(r"s(\d)_fuse\.conv_f2s", lambda m: f"slow_path.layer{int(m[1]) - 1}_lateral.conv", key)
        key = re.sub(r"s1\.pathway(\d)_stem\.(\w+)", lambda m: f"{('slow', 'fast')[int(m[1])]}_path.conv1.{m[2]}", key)
        key = re.sub(
            r"s(\d)\.pathway(\d)_res",
            lambda m: f"{('slow', 'fast')[int(m[2])]}_path.layer{int(m[1]) - 1}.",
            key,
        )
        key = re.sub(r"branch1\.", "downsample.conv.", key).replace("branch1_bn.", "downsample.bn.")
        key = re.sub(r"branch2\.([abc])\.", lambda m: f"conv{'abc'.index(m[1]) + 1}.conv.", key)
        key = re.sub(r"branch2\.([abc])_bn\.", lambda m: f"conv{'abc'.index(m[1]) + 1}.bn.", key)
        state[key.replace("head.projection", "cls_head.fc_cls") if "head." in key else f"backbone.{key}"] = tensor
    assert len(state) == 642
    with unallocated():
        net = build_recognizer(backbone="slowfast_50", head="tgap", num_classes=51, clip_length=32, size=64)
    report = load_published(net, state)
    assert report.layout == "mmaction2_slowfast"
    assert not any((report.missing, report.unexpected, report.reinitialized, report.ignored))
    assert {name: net.config["backbone_options"][name] for name in ("lateral_norm", "picking", "alpha")} == {
        "lateral_norm": False,
        "picking": "stride",
        "alpha": 4,
    }
