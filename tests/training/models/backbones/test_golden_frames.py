"""Networks of pictures, connected by a shift or by nothing, against the published implementations.

Their inputs are stored with the frames of a clip in the channels, and are turned round. Where they classify each frame
and average the scores, so does the head ``none``; ``tgap`` averages features, which is the same but for the count.
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
    """What the file turns the backbone into."""
    flow_stack: int = 0
    """Fields of a picture of flow; 0 for RGB."""

    @property
    def channels(self) -> int:
        return 2 * self.flow_stack or 3

    def clip(self) -> Tensor:
        """Return the clip that the published answer belongs to, ``(1, C, T, H, W)``."""
        given_1DHW = golden.given(self.golden)
        clip_1TCHW = given_1DHW.reshape(1, -1, self.channels, *given_1DHW.shape[2:])
        return clip_1TCHW.transpose(1, 2)

    def arguments(self, frames: int, size: int) -> dict[str, Any]:
        """Return those of ``build_recognizer`` for the network before loading."""
        return {
            "backbone": self.backbone,
            "head": "tgap",
            "modality": "flow" if self.flow_stack else "rgb",
            "flow_stack": self.flow_stack or 1,
            "num_classes": golden.facts(self.golden)["classes"],
            "clip_length": frames,
            "size": size,
        }

    def build(self, **changes: Any) -> Recognizer:
        """Return the network before loading."""
        _, _, frames, size, _ = self.clip().shape
        return build_recognizer(**{**self.arguments(frames, size), **changes})


SHIFTED = {"temporal": "tsm"}
CASES = [
    Case("tsm_resnet50_8f", "tsm_resnet", "resnet50", SHIFTED),
    Case("tsm_resnet50_flow_8f", "tsm_resnet", "resnet50", SHIFTED, flow_stack=5),
    Case("tsm_mobilenetv2_8f", "tsm_mobilenetv2", "mobilenetv2", SHIFTED),
    Case("tsm_bninception_tsn_8f", "tsm_bninception", "bninception"),
    Case("twostream_flow_vgg16", "twostream_vgg", "vgg16", flow_stack=10),
]
SLOW = {"tsm_resnet50_flow_8f", "tsm_bninception_tsn_8f", "twostream_flow_vgg16"}
ANSWERED = [pytest.param(case, marks=pytest.mark.slow if case.golden in SLOW else (), id=case.golden) for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.golden)
def test_every_published_key_has_its_place(case: Case) -> None:
    state = golden.unallocated(case.golden)
    with unallocated():
        net = case.build()
    report = load_published(net, {"state_dict": {f"module.{key}": value for key, value in state.items()}})
    assert report.layout == case.layout
    assert sorted(report.loaded) == sorted(net.state_dict())
    assert len(report.loaded) == len(state)
    assert not [*report.adapted, *report.reinitialized, *report.missing, *report.unexpected, *report.ignored]
    for option, value in case.options.items():
        assert net.config["backbone_options"][option] == value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.golden)
def test_sizes_are_the_published_ones(case: Case) -> None:
    published = golden.facts(case.golden)
    arguments = case.arguments(published["mac_input"][1] // case.channels, published["mac_input"][2])
    sizes = sizes_of(**{**arguments, "head": "none", "backbone_options": dict(case.options)})
    assert sizes.parameters == published["params"]
    assert sizes.macs == published["macs"]["total"]
    assert sizes.operations["conv"] == published["macs"]["conv"]
    assert sizes.operations["relu"] == published["macs"]["relu"]
    assert sizes.operations.get("batch_norm", 0) == published["macs"]["bn"]


@pytest.mark.parametrize("case", ANSWERED)
def test_answers_are_the_published_ones(case: Case) -> None:
    torch.manual_seed(0)
    net, clip_1CTHW = case.build(), case.clip()
    load_published(net, golden.state(case.golden))
    with torch.inference_mode():
        pair = net.eval()(torch.cat([clip_1CTHW.flip(4), clip_1CTHW]))
    assert golden.relative_error(pair[1:], golden.answer(case.golden)) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.golden)
def test_answers_in_double_precision_are_the_published_ones(case: Case) -> None:
    net = case.build()
    load_published(net, golden.state(case.golden))
    with torch.inference_mode():
        logits_1K = net.double().eval()(case.clip().double())
    assert golden.relative_error(logits_1K, golden.exact_answer(case.golden)) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.golden)
def test_gradients_of_published_weights_are_finite(case: Case) -> None:
    net = case.build(dropout=0.0)
    load_published(net, golden.state(case.golden))
    logits_NK = net.train()(torch.cat([case.clip(), case.clip().flip(4)]))
    (logits_NK / logits_NK.detach().std()).square().mean().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
