"""Counts by hand, by torch's own counter, and by those who measured the published networks."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from kinebert.training.models import BACKBONES, HEADS
from kinebert.training.models.registry import takes_paths
from kinebert.training.models.sizes.measure import measure, sizes_of
from kinebert.training.models.sizes.unallocated import build_unallocated, shapes_only, unallocated
from tests.helpers import golden
from tests.helpers.networks import admits, one_of_each_family, smallest_clip


class Everything(nn.Module):
    """One of each layer and call that is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(4, 6, (1, 3, 3), padding=(0, 1, 1), groups=2)
        self.norm = nn.BatchNorm3d(6)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool3d((1, 2, 2))
        self.lstm = nn.LSTM(6, 5, batch_first=True)
        self.out = nn.ModuleList([nn.Linear(5, 3)])

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        x_NCTHW = self.pool(functional.relu(self.relu(self.norm(self.conv(x_NCTHW)))))
        x_NTF = self.lstm(x_NCTHW.mean(dim=(3, 4)).transpose(1, 2))[0]
        return self.out[0](functional.scaled_dot_product_attention(x_NTF, x_NTF, x_NTF) @ x_NTF.new_ones(5, 5))


def test_every_operation_is_counted_as_by_hand() -> None:
    with torch.device("meta"):
        sizes = measure(Everything(), torch.empty(1, 4, 7, 8, 10))
    pixels = 7 * 8 * 10
    assert sizes.operations == {
        "conv": pixels * 6 * 2 * 9,
        "bias": pixels * 6 + 7 * 3,  # the tool counts no bias of a recurrent layer
        "batch_norm": pixels * 6,
        "relu": pixels * 6,  # of the layer; the function is not seen
        "pool": pixels * 6 + pixels // 4 * 6,  # the maximum, and the average over the picture
        "linear": 7 * 4 * 5 * (6 + 5) + 7 * 5 * 3,  # four gates, of input and state; the last layer
        "matmul": 2 * 7 * 7 * 5 + 7 * 5 * 5,
    }
    assert sizes.macs == sum(sizes.operations[name] for name in ("conv", "linear", "matmul"))
    assert (
        sizes.paper_flops
        == sum(sizes.operations.values()) + sizes.operations["batch_norm"] - sizes.operations["matmul"]
    )
    assert (sizes.input_shape, sizes.output_shape) == ((1, 4, 7, 8, 10), (1, 7, 3))
    assert [part.name for part in sizes.parts] == ["", "conv", "norm", "relu", "pool", "lstm", "out.0"]
    assert sizes.parts[0].operations == {"pool": pixels // 4 * 6, "matmul": sizes.operations["matmul"]}
    assert [part.parameters for part in sizes.parts] == [0, 6 * 2 * 9 + 6, 12, 0, 0, 4 * 5 * (6 + 5 + 2), 18]


def test_a_transposed_convolution_is_counted_by_its_input() -> None:
    with torch.device("meta"), shapes_only():
        sizes = measure(nn.ConvTranspose2d(4, 6, 3, stride=2), torch.empty(1, 4, 5, 5))
    assert sizes.macs == 4 * 25 * 6 * 9
    assert sizes.output_shape == (1, 6, 11, 11)


def test_a_network_is_left_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).train()
    measure(net, torch.randn(1, 3, 8, 8))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def combinations() -> list[Any]:
    """Every backbone and head; but one of each family are for the slow run, which repeat the blocks of the others."""
    heads = {head: "slowfast_50" if takes_paths(head) else "resnext50" for head in HEADS}
    nets = [{"backbone": backbone, "head": "bert"} for backbone in BACKBONES]
    nets += [{"backbone": backbone, "head": head} for head, backbone in heads.items()]
    reducible = ("resnext50", "i3d", "slowfast_50", "resnet18")
    nets += [{"backbone": b, "head": "bert", "reduction": r} for b in reducible for r in ("frab", "frmb")]
    small = {name for name in one_of_each_family() if ".recurrent." not in BACKBONES[name].build.__module__}
    fast = {*small, *heads.values(), *reducible}
    return [
        pytest.param(
            {**net, **odd_clip(net["backbone"]), "num_classes": 5},
            id="-".join(net.values()),
            marks=[] if net["backbone"] in fast else [pytest.mark.slow],
        )
        for net in nets
    ]


def odd_clip(backbone: str) -> dict[str, int]:
    """Frames and pixels that no stride divides, where the network takes such."""
    with unallocated():
        trunk = BACKBONES[backbone].build(channels_in=3, width=0.125)
    frames, pixels = (20, 75) if admits(trunk, 20, 75) else smallest_clip(backbone)
    return {"clip_length": frames, "size": pixels}


@pytest.mark.parametrize("arguments", combinations())
def test_shapes_and_counts_are_those_that_torch_finds(arguments: dict[str, Any]) -> None:
    """Without the shapes that we work out, and with torch's own counter."""
    sizes = sizes_of(**arguments)
    net = build_unallocated(**arguments).eval()
    clip = torch.empty(1, 3, *(arguments[side] for side in ("clip_length", "size", "size")), device="meta")
    plain = measure(net, clip)
    assert plain.parts == sizes.parts
    assert plain == sizes
    told: list[int] = []  # by modules that do the work of convolutions with other operators, which torch cannot know
    for module in net.modules():
        if hasattr(module, "multiply_adds"):
            module.register_forward_hook(lambda module, _, output: told.append(module.multiply_adds(output)))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(clip)
    assert counter.get_total_flops() == 2 * (sizes.macs - sum(told))
    assert sum(part.macs for part in sizes.parts) == sizes.macs
    assert sum(part.paper_flops for part in sizes.parts) == sizes.paper_flops
    assert sum(part.parameters for part in sizes.parts) == sizes.parameters


def test_nothing_is_allocated() -> None:
    net = build_unallocated(backbone="resnet3d_200", head="bert", num_classes=5, clip_length=16)
    assert all(tensor.is_meta for tensor in (*net.parameters(), *net.buffers()))


RESNEXT, I3D = {"backbone": "resnext101", "clip_length": 64}, {"backbone": "i3d", "clip_length": 64, "size": 224}
SLOWFAST = {"backbone": "slowfast_50", "clip_length": 64, "size": 224, "head": "tgap"}
R34 = {"backbone": "r2plus1d_34", "clip_length": 32}
HARA = {"head": "tgap", "clip_length": 16}
MEASURED: dict[str, dict[str, Any]] = {
    "artest08_rgb_resneXt3D64f101": {**RESNEXT, "head": "tgap"},
    "artest08_rgb_resneXt3D64f101_bert10_FRAB": {**RESNEXT, "head": "bert", "reduction": "frab"},
    "artest08_rgb_resneXt3D64f101_bert10_FRMB": {**RESNEXT, "head": "bert", "reduction": "frmb"},
    "artest08_rgb_resneXt3D64f101_FRMB_adamw": {**RESNEXT, "head": "tgap", "reduction": "frmb"},
    "artest08_rgb_resneXt3D64f101_concatenation": {**RESNEXT, "head": "concat_fc", "reduction": "frmb"},
    "artest08_rgb_resneXt3D64f101_FRMB_NLB_concatenation": {
        **RESNEXT,
        "head": "nonlocal_concat_fc",
        "reduction": "frmb",
    },
    "artest08_rgb_resneXt3D64f101_FRMB_lstm": {**RESNEXT, "head": "lstm", "reduction": "frmb"},
    "artest08_flow_resneXt3D64f101": {**RESNEXT, "head": "tgap", "modality": "flow"},
    "artest08_rgb_I3D64f": {**I3D, "head": "tgap"},
    "artest08_rgb_I3D64f_bert2_FRAB": {**I3D, "head": "bert", "reduction": "frab"},
    "artest08_rgb_slowfast64f_50": SLOWFAST,
    "artest08_rgb_slowfast64f_50_bert10_FRAB_late": {**SLOWFAST, "head": "bert_late", "reduction": "frab"},
    "artest08_rgb_r2plus1d_32f_34": {**R34, "head": "tgap"},
    "artest08_rgb_r2plus1d_32f_34_bert10": {**R34, "head": "bert"},
    "kenshohara_r3d18": {**HARA, "backbone": "resnet3d_18"},
    "kenshohara_r3d50": {**HARA, "backbone": "resnet3d_50"},
    "kenshohara_r3d18_shortcutA": {**HARA, "backbone": "resnet3d_18", "backbone_options": {"shortcut": "A"}},
    "kenshohara_r2p1d18": {**HARA, "backbone": "r2plus1d_18", "backbone_options": {"family": "hara"}},
    "mars_resnext101_rgb_16f": {**HARA, "backbone": "resnext101"},
    "pyslowfast_slowfast_8x8_r50": {**SLOWFAST, "clip_length": 32},
    "ig65m_r2plus1d_34": {**R34, "head": "tgap"},
}
PADDED_POOLS = {"artest08_rgb_I3D64f": 79_478_784, "artest08_rgb_I3D64f_bert2_FRAB": 79_880_192}
"""Elements into I3D's own pooling class, which those who measured it counted, and the papers did not."""
UNUSED_LAYER = {"artest08_rgb_slowfast64f_50_bert10_FRAB_late": 2304 * 400 + 400}


@pytest.mark.parametrize("name", MEASURED)
def test_published_networks_are_counted_as_others_measured_them(name: str) -> None:
    theirs = golden.facts(name)
    macs = theirs["macs"]
    sizes = sizes_of(num_classes=theirs["classes"], **MEASURED[name])
    assert sizes.parameters + UNUSED_LAYER.get(name, 0) == theirs["params"]
    assert (list(sizes.input_shape), list(sizes.output_shape)) == (theirs["mac_input"], theirs["out_shape"])
    assert sizes.macs == macs["total"]
    unseen = PADDED_POOLS.get(name, 0)
    expected = {
        "conv": macs["conv"],
        "linear": macs["linear"],
        "matmul": macs["matmul"],
        "bias": macs["conv_bias"] + macs["lin_bias"],
        "batch_norm": macs["bn"],
        "relu": macs["relu"],
        "pool": macs["pool"] - unseen,
    }
    assert {kind: sizes.operations.get(kind, 0) for kind in expected} == expected
    assert round((sizes.paper_flops + unseen) / 1e9, 4) == theirs["gmacs_ptflops_like"]
