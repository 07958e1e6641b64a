"""Single papers' networks of clips against the published implementations: every key, every size, and the answers."""

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
    """``none`` where the published network classifies every step, and averages the scores."""
    tolerance: float = TOLERANCE

    def clip(self) -> Tensor:
        """Return the clip that the published answer belongs to, ``(1, 3, T, H, W)``."""
        given = golden.given(self.golden)
        # a network of frames was given them in the channels
        return given if given.ndim == 5 else given.unflatten(1, (-1, 3)).transpose(1, 2)

    @property
    def exact(self) -> bool:
        """Whether the published answer is there in float64."""
        return "logits64" in golden.arrays(self.golden)

    def build(self, **changes: Any) -> Recognizer:
        """Return the network before loading."""
        clip = self.clip()
        arguments = {
            "backbone": self.backbone,
            "backbone_options": {**self.options, **self.fresh},
            "head": self.head,
            "num_classes": golden.facts(self.golden)["classes"],
            "clip_length": clip.shape[2],
            "size": clip.shape[3],
        }
        return build_recognizer(**{**arguments, **changes})


CASES = [
    Case("vmz_ir_csn_101", "vmz_csn", "csn_ir_101"),
    Case("mmaction2_ipcsn_r152", "mmaction2_ipcsn", "csn_ip_152"),
    Case("mfnet3d_400", "mfnet", "mfnet"),
    Case("mmaction2_r2plus1d_r34", "mmaction2_r2plus1d", "r2plus1d_34", {"family": "mmaction2"}, {"family": "vmz"}),
    Case("mmaction2_c3d", "mmaction2_c3d", "c3d"),
    Case("blvnet_tam_50_f8x2", "blvnet_tam", "blvnet_tam_50", {"alpha": 2}, {"alpha": 4}, head="none"),
    # The tolerance is for least and largest values, and thresholds.
    Case("repflow50_51", "repflow", "repflow_50", head="none", tolerance=1e-2),
]
SLOW = {"vmz_ir_csn_101", "mmaction2_ipcsn_r152"}
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


@pytest.mark.parametrize("case", ANSWERED)
def test_answers_are_the_published_ones(case: Case) -> None:
    torch.manual_seed(0)
    net, clip_1CTHW = case.build(), case.clip()
    load_published(net, golden.state(case.golden))
    expected = golden.answer(case.golden).reshape(1, -1)
    with torch.inference_mode():
        pair = net.eval()(torch.cat([clip_1CTHW.flip(2), clip_1CTHW]))
    assert golden.relative_error(pair[1:], expected) < case.tolerance
    assert golden.relative_error(pair[:1], expected) > 10 * TOLERANCE, "it sees the order of frames"


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.exact], ids=lambda case: case.golden)
def test_in_double_precision_answers_are_the_published_ones(case: Case) -> None:
    net = case.build()
    load_published(net, golden.state(case.golden))
    with torch.inference_mode():
        found = net.double().eval()(case.clip().double())
    assert golden.relative_error(found, golden.exact_answer(case.golden).reshape(1, -1)) < 1e-9


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.golden)
def test_gradients_of_published_weights_are_finite(case: Case) -> None:
    net = case.build(dropout=0.0)
    load_published(net, golden.state(case.golden))
    logits_NK = net.train()(torch.cat([case.clip(), case.clip().flip(4)]))
    (logits_NK / logits_NK.detach().std()).square().mean().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


# Networks, classes, frames and pixels; millions of parameters and thousands of millions of multiply-adds, as the
# published implementations were measured.
SIZES = [
    ("csn_ir_50", 51, 32, 256, 12.416, 55.2591),
    ("csn_ir_101", 51, 32, 224, 21.499, 56.4675),
    ("csn_ir_152", 51, 32, 224, 28.988, 74.0455),
    ("csn_ir_152", 51, 32, 256, 28.988, 96.7125),
    ("csn_ir_152", 400, 32, 256, 29.704, 96.7132),
    ("csn_ip_101", 51, 32, 224, 23.887, 63.5579),
    ("csn_ip_152", 51, 32, 224, 32.301, 83.2940),
    ("csn_ip_152", 51, 32, 256, 32.301, 108.7921),
    ("csn_ip_152", 400, 32, 256, 33.017, 108.7928),
    ("blvnet_tam_50", 51, 16, 224, 24.768, 23.8493),
    ("blvnet_tam_50", 51, 32, 224, 24.768, 47.6986),
    ("blvnet_tam_50", 400, 16, 224, 25.483, 23.8550),
    ("blvnet_tam_101", 51, 16, 224, 39.925, 32.1472),
    ("repflow_50", 51, 32, 224, 29.091, 45.1615),
    ("repflow_50", 400, 32, 224, 29.806, 45.1658),
    ("c3d", 51, 16, 112, 78.205, 38.5472),
    ("r2plus1d_152", 51, 32, 112, 117.512, 64.6556),
    ("mfnet", 51, 16, 224, 7.728, 11.0452),
    ("mfnet", 101, 16, 224, 7.766, 11.0452),
    ("mfnet", 400, 16, 224, 7.996, 11.0454),
]


@pytest.mark.parametrize(("backbone", "classes", "frames", "size", "parameters", "macs"), SIZES)
def test_sizes_are_those_of_the_published_networks(
    backbone: str, classes: int, frames: int, size: int, parameters: float, macs: float
) -> None:
    head = next((case.head for case in CASES if case.backbone == backbone.replace("101", "50")), "tgap")
    sizes = sizes_of(backbone=backbone, head=head, num_classes=classes, clip_length=frames, size=size)
    assert f"{sizes.parameters / 1e6:.3f}" == f"{parameters:.3f}"
    assert f"{sizes.macs / 1e9:.4f}" == f"{macs:.4f}"


# Networks without a golden answer, and the entries of their published state dicts.
ENTRIES = [
    ("csn_ir_50", 320),
    ("csn_ir_152", 932),
    ("csn_ip_101", 824),
    ("csn_ip_152", 1232),
    ("blvnet_tam_101", 791),
    ("r2plus1d_152", 1238),
]


@pytest.mark.parametrize(("backbone", "entries"), ENTRIES)
def test_other_depths_have_as_many_entries_as_published(backbone: str, entries: int) -> None:
    with unallocated():
        net = build_recognizer(backbone=backbone, head="tgap", num_classes=51, clip_length=16)
    counters = sum(key.endswith("num_batches_tracked") for key in net.state_dict())
    assert counters > 0
    assert len(net.state_dict()) == entries


def test_r2plus1d_152_is_read_under_vmzs_names() -> None:
    with unallocated():
        net = build_recognizer(
            backbone="r2plus1d_152", head="tgap", num_classes=51, clip_length=32, backbone_options={"family": "ig65m"}
        )
    state = net.state_dict()  # our names of it are VMZ's, as those of the shallower ones are
    published = {key.removeprefix("backbone.").replace("classifier.", "fc."): value for key, value in state.items()}
    report = load_published(net, published)
    assert report.layout == "vmz_r2plus1d_152"
    assert sorted(report.loaded) == sorted(state)
    assert net.config["backbone_options"]["family"] == "vmz"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.golden)
def test_every_operation_is_counted_as_published(case: Case) -> None:
    published = golden.facts(case.golden)
    *_, channels_or_frames, _, size = published["mac_input"]
    frames = channels_or_frames if len(published["mac_input"]) == 5 else channels_or_frames // 3
    sizes = sizes_of(
        backbone=case.backbone,
        backbone_options=case.options,
        head=case.head,
        num_classes=published["classes"],
        clip_length=frames,
        size=size,
    )
    assert sizes.parameters == published["params"]
    assert sizes.macs == published["macs"]["total"]
    assert sizes.operations.get("batch_norm", 0) == published["macs"]["bn"]
