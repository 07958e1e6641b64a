"""Networks of pictures under temporal modules, and torchvision's of clips: every key, every size, and the answers.

Measured on this machine: every network's error is between 5e-7 and 4e-6.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from kinebert.training.models import Recognizer, build_recognizer, load_published
from kinebert.training.models.inputs import CENTERED, IMAGENET, KINETICS, Normalization
from kinebert.training.models.sizes.measure import sizes_of
from kinebert.training.models.sizes.unallocated import unallocated
from tests.helpers import golden

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Case:
    """A golden file, and how its network is called here."""

    golden: str
    backbone: str
    temporal: str = ""
    pooling: bool = False
    fresh: str = "none"
    """Temporal module that it is built with: the file turns it into its own."""
    layout: str = "ibm"
    options: dict[str, Any] = field(default_factory=dict)
    normalization: Normalization = CENTERED
    head_options: dict[str, Any] = field(default_factory=dict)
    windows: int = 0
    """Windows of steps on each of which the published classifier is run, where it is a convolution."""

    def arguments(self, frames: int, fresh: bool = False) -> dict[str, Any]:
        temporal = {"temporal": self.fresh if fresh else self.temporal, "temporal_pooling": self.pooling}
        return {
            "backbone": self.backbone,
            "head": "tgap",
            "num_classes": 51,
            "clip_length": frames,
            "backbone_options": {**(temporal if self.temporal else {}), **self.options},
            **self.head_options,
        }


CASES = [
    Case("ibm_tsn_inceptionv1_f8", "inceptionv1", "none", layout="torchvision_googlenet"),
    Case("ibm_i3d_resnet18_f8", "resnet18", "conv3d", normalization=IMAGENET),
    Case("ibm_i3d_inceptionv1_ts_f32", "inceptionv1", "conv3d", pooling=True, fresh="conv1d"),
    Case("ibm_s3d_inceptionv1_f32", "inceptionv1", "conv1d", fresh="conv3d"),
    Case(
        "torchvision_s3d",
        "s3d",
        layout="torchvision_s3d",
        normalization=KINETICS,
        head_options={"window": 2},
        windows=7,
    ),
    Case(
        "torchvision_mc3_18",
        "resnet3d_18",
        layout="torchvision_video",
        options={"family": "torchvision_mc3"},
        normalization=KINETICS,
    ),
    Case("ibm_tam_resnet50_ts_f16", "resnet50", "tam", pooling=True, normalization=IMAGENET),
]


def clip(case: Case) -> Tensor:
    """Return the stored input as ``(1, 3, T, H, W)``: networks of pictures were fed frames side by side in channels."""
    given = golden.given(case.golden)
    return given if given.ndim == 5 else given.unflatten(1, (-1, 3)).transpose(1, 2)


def loaded(case: Case) -> tuple[Recognizer, Tensor]:
    clip_1CTHW = clip(case)
    torch.manual_seed(0)
    net = build_recognizer(**case.arguments(clip_1CTHW.shape[2], fresh=True))
    load_published(net, golden.state(case.golden))
    return net, clip_1CTHW


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.golden)
def test_every_published_key_has_its_place(case: Case) -> None:
    state = golden.unallocated(case.golden)
    with unallocated():
        net = build_recognizer(**case.arguments(clip(case).shape[2], fresh=True))
    report = load_published(net, state)
    assert report.layout == case.layout
    assert sorted(report.loaded) == sorted(net.state_dict())
    assert len(report.loaded) == len(state)
    assert not [*report.adapted, *report.reinitialized, *report.missing, *report.unexpected, *report.ignored]
    assert net.spec.mean == case.normalization.mean


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.golden)
def test_sizes_are_the_published_ones(case: Case) -> None:
    published = golden.facts(case.golden)
    shape = published["mac_input"]
    sizes = sizes_of(**case.arguments(shape[2] if len(shape) == 5 else shape[1] // 3), size=shape[-1])
    assert sizes.parameters == published["params"]
    assert sizes.operations["conv"] + case.windows * sizes.operations["linear"] == published["macs"]["conv"]
    assert sizes.operations["batch_norm"] == published["macs"]["bn"]


def answers_as_published(case: Case) -> None:
    net, clip_1CTHW = loaded(case)
    expected = golden.answer(case.golden)
    with torch.inference_mode():
        assert golden.relative_error(net.eval()(clip_1CTHW), expected) < TOLERANCE
        pair = net(torch.cat([clip_1CTHW.flip(2), clip_1CTHW]))
    assert golden.relative_error(pair[1:], expected) < TOLERANCE


@pytest.mark.parametrize("case", CASES[:1], ids=lambda case: case.golden)
def test_answers_are_the_published_ones(case: Case) -> None:
    answers_as_published(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES[1:], ids=lambda case: case.golden)
def test_answers_of_large_networks_are_the_published_ones(case: Case) -> None:
    answers_as_published(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.golden)
def test_gradients_of_published_weights_are_finite(case: Case) -> None:
    net, clip_1CTHW = loaded(case)
    torch.manual_seed(1)
    logits_NK = net.train()(clip_1CTHW + 0.1 * torch.randn(clip_1CTHW.shape))
    (logits_NK / logits_NK.detach().std()).square().mean().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
