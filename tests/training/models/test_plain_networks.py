"""The plain readings that benchmarks compare with compute what our networks do, and so do their gradients."""

from typing import Any

import pytest
import torch

from kinebert.training.models import BACKBONES, build_recognizer
from tests.benchmarks.networks import CASES
from tests.helpers.networks import smallest_clip
from tests.helpers.plain_networks import plain

NETWORKS: dict[str, dict[str, Any]] = {
    **{case.name: dict(case.network) for case in CASES if case.network["backbone"] in BACKBONES},
    "MobileNet with a shift": {"backbone": "mobilenetv2", "backbone_options": {"temporal": "tsm"}, "head": "tgap"},
    "a filter over three frames": {"backbone": "resnet18", "backbone_options": {"temporal": "tam"}, "head": "tgap"},
    "a shift that sees no future": {
        "backbone": "resnet18",
        "backbone_options": {"temporal": "tsm", "shift_online": True, "shift_place": "block"},
        "head": "tgap",
    },
}

FAST = {"X3D-M", "a filter over three frames", "a shift that sees no future"}
"""Torch's own depth-wise convolutions of 64 bits take long."""


@pytest.mark.parametrize("name", [pytest.param(one, marks=[pytest.mark.slow] * (one not in FAST)) for one in NETWORKS])
def test_a_plain_reading_computes_the_same(name: str) -> None:
    frames, size = smallest_clip(NETWORKS[name]["backbone"])
    torch.manual_seed(0)
    net = build_recognizer(**NETWORKS[name], num_classes=5, clip_length=frames, size=size, width=0.25)
    other = plain(net)
    x_NCTHW = torch.randn(2, 3, frames, net.spec.crop_size, net.spec.crop_size)
    ours, plainly = (one.double().eval()(x_NCTHW.double()) for one in (net, other))
    assert (ours - plainly).abs().max() < 1e-9 * plainly.std()
    for logits_NK in (ours, plainly):
        logits_NK.square().sum().backward()
    for (key, mine), theirs in zip(net.named_parameters(), other.parameters(), strict=True):
        assert mine.grad is not None, key
        assert theirs.grad is not None, key
        assert (mine.grad - theirs.grad).abs().max() <= 1e-9 * theirs.grad.abs().max() + 1e-15, key
