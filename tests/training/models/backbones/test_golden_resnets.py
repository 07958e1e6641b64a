"""3D ResNet, ResNeXt and R(2+1)D against the published implementations: every key, every size, and the answers.

Measured on this machine: every network's error is between 0 and 1.6e-6, as far as theirs is from float64.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from kinebert.training.models import Recognizer, build_recognizer, load_published
from kinebert.training.models.sizes.measure import sizes_of
from kinebert.training.models.sizes.unallocated import unallocated
from tests.helpers import golden

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Case:
    """A golden file, and how its network is called here."""

    golden: str
    layout: str
    backbone: str
    options: Mapping[str, Any] = field(default_factory=dict)
    fresh: Mapping[str, Any] = field(default_factory=dict)
    """Options with which it is built before loading: the file turns them into ``options``."""
    head: str = "tgap"
    reduction: str | None = None
    modality: str = "rgb"

    def arguments(self, frames: int) -> dict[str, Any]:
        """Return those of ``build_recognizer`` for the published network."""
        return {
            "backbone": self.backbone,
            "head": self.head,
            "reduction": self.reduction,
            "modality": self.modality,
            "num_classes": 51,
            "clip_length": frames,
            "backbone_options": self.options,
        }


FAST = [
    Case("kenshohara_r3d18", "kenshohara_2020", "resnet3d_18", fresh={"shortcut": "A"}),
    Case("kenshohara_r3d18_shortcutA", "kenshohara_2020", "resnet3d_18", {"shortcut": "A"}, {"shortcut": "B"}),
    Case("kenshohara_r2p1d18", "kenshohara_r2plus1d", "r2plus1d_18", {"family": "hara"}, {"family": "ig65m"}),
    Case("mars_resnext101_rgb_16f", "mars", "resnext101"),
]
SLOW = [
    Case("kenshohara_r3d50", "kenshohara_2020", "resnet3d_50"),
    Case("ig65m_r2plus1d_34", "ig65m", "r2plus1d_34", fresh={"family": "torchvision"}),
    Case("artest08_rgb_r2plus1d_32f_34", "artest08_r2plus1d", "r2plus1d_34"),
    Case("artest08_rgb_r2plus1d_32f_34_bert10", "artest08_r2plus1d", "r2plus1d_34", head="bert"),
    Case("artest08_rgb_resneXt3D64f101", "artest08_resnext", "resnext101"),
    Case("artest08_flow_resneXt3D64f101", "artest08_resnext", "resnext101", modality="flow"),
    Case("artest08_rgb_resneXt3D64f101_FRMB_adamw", "artest08_resnext", "resnext101", reduction="frmb"),
    Case("artest08_rgb_resneXt3D64f101_bert10_FRAB", "artest08_resnext", "resnext101", head="bert", reduction="frab"),
    Case("artest08_rgb_resneXt3D64f101_bert10_FRMB", "artest08_resnext", "resnext101", head="bert", reduction="frmb"),
]


def name(case: Case) -> str:
    return f"{case.golden}-{'-'.join(case.fresh.values()) or 'same'}"


def loaded(case: Case) -> tuple[Recognizer, Tensor]:
    """Return a network with the published weights and the clip that the published answer belongs to."""
    clip_1CTHW = golden.given(case.golden)
    torch.manual_seed(0)
    arguments = case.arguments(clip_1CTHW.shape[2])
    net = build_recognizer(**{**arguments, "backbone_options": {**case.options, **case.fresh}})
    load_published(net, golden.state(case.golden))
    return net, clip_1CTHW


def answers_as_published(case: Case) -> None:
    net, clip_1CTHW = loaded(case)
    expected = golden.answer(case.golden)
    with torch.inference_mode():
        assert golden.relative_error(net.eval()(clip_1CTHW), expected) < TOLERANCE
        pair = net(torch.cat([clip_1CTHW.flip(2), clip_1CTHW]))
    assert golden.relative_error(pair[1:], expected) < TOLERANCE


def gradients_are_finite(case: Case, clips: int) -> None:
    net, clip_1CTHW = loaded(case)
    torch.manual_seed(1)
    logits_NK = net.train()(clip_1CTHW.repeat(clips, 1, 1, 1, 1) + 0.1 * torch.randn(clips, *clip_1CTHW.shape[1:]))
    (logits_NK / logits_NK.detach().std()).square().mean().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@pytest.mark.parametrize("case", FAST + SLOW, ids=name)
def test_every_published_key_has_its_place(case: Case) -> None:
    state = golden.unallocated(case.golden)
    frames = golden.given(case.golden).shape[2]
    with unallocated():
        arguments = case.arguments(frames)
        net = build_recognizer(**{**arguments, "backbone_options": {**case.options, **case.fresh}})
    report = load_published(net, state)
    assert report.layout == case.layout
    assert sorted(report.loaded) == sorted(net.state_dict())
    assert len(report.loaded) == len(state)
    assert not [*report.adapted, *report.reinitialized, *report.missing, *report.unexpected, *report.ignored]
    for option, value in case.options.items():
        assert net.config["backbone_options"][option] == value


@pytest.mark.parametrize("case", FAST + SLOW, ids=name)
def test_sizes_are_the_published_ones(case: Case) -> None:
    published = golden.facts(case.golden)
    sizes = sizes_of(**case.arguments(published["mac_input"][2]))
    assert sizes.parameters == published["params"]
    assert sizes.macs == published["macs"]["total"]
    assert sizes.operations["conv"] == published["macs"]["conv"]
    assert sizes.operations["batch_norm"] == published["macs"]["bn"]
    assert sizes.operations["relu"] == published["macs"]["relu"]


@pytest.mark.parametrize(
    "case", [FAST[0], *(pytest.param(case, marks=pytest.mark.slow) for case in FAST[1:])], ids=name
)
def test_answers_are_the_published_ones(case: Case) -> None:
    answers_as_published(case)


@pytest.mark.parametrize("case", FAST[:1], ids=name)
def test_gradients_of_published_weights_are_finite(case: Case) -> None:
    gradients_are_finite(case, clips=2)


@pytest.mark.slow
@pytest.mark.parametrize("case", SLOW, ids=name)
def test_answers_of_large_networks_are_the_published_ones(case: Case) -> None:
    answers_as_published(case)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("case", [*FAST[1:], *SLOW], ids=name)
def test_gradients_of_large_networks_are_finite(case: Case) -> None:
    gradients_are_finite(case, clips=1)
