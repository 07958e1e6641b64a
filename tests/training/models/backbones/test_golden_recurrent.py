"""SRTG and MTNet against the published programs: every key, every size, the answers, and what lies between."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
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
    options: dict[str, Any] = field(default_factory=dict)

    def arguments(self, **changes: Any) -> dict[str, Any]:
        """Return those of ``build_recognizer``."""
        base = {"backbone": self.backbone, "head": "tgap", "num_classes": 51, "backbone_options": self.options}
        return {**base, **changes}

    def loaded(self) -> tuple[Recognizer, Tensor]:
        """Return a network with the published weights, and the clip that the published answer belongs to."""
        clip_1CTHW = golden.given(self.golden)
        frames, size = clip_1CTHW.shape[2:4]
        torch.manual_seed(0)
        net = build_recognizer(**self.arguments(clip_length=frames, size=size))
        load_published(net, golden.state(self.golden))
        return net.eval(), clip_1CTHW


SRTG = [
    Case("srtg_srtg_r3d_50", "srtg_r3d", "srtg_r3d_50"),
    Case("srtg_r2plus1d_50", "srtg_plain_r2plus1d", "r2plus1d_50", {"family": "srtg"}),
]
MTNET = [
    Case("srtg_mtnet_s", "mtnet", "mtnet_s"),
    Case("srtg_mtnet_m_g8", "mtnet", "mtnet_m", {"groups": 8}),
]
ALL = SRTG + MTNET


@contextmanager
def recorded(net: Recognizer, names: list[str]) -> Iterator[dict[str, Tensor]]:
    """Keep what the backbone's modules of these names return."""
    found: dict[str, Tensor] = {}

    def keep(name: str, values: Any) -> None:
        for i, value in enumerate(values if isinstance(values, tuple) else (values,)):
            found[f"{name}#{i}" if isinstance(values, tuple) else name] = value.detach().clone()

    handles = [
        net.backbone.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: keep(name, out))
        for name in {name.partition("#")[0] for name in names}
    ]
    yield found
    for handle in handles:
        handle.remove()


def statistics(values: Tensor) -> list[float]:
    """Return mean, deviation, least, largest and length, as golden files hold them."""
    x = values.double()
    return [float(one) for one in (x.mean(), x.std(correction=0), x.min(), x.max(), x.square().sum().sqrt())]


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.golden)
def test_every_published_key_has_its_place(case: Case) -> None:
    state = golden.unallocated(case.golden)
    frames = golden.given(case.golden).shape[2]
    with unallocated():
        net = build_recognizer(**case.arguments(clip_length=frames))
    report = load_published(net, state)
    assert report.layout == case.layout
    assert sorted(report.loaded) == sorted(net.state_dict())
    assert len(report.loaded) == len(state)
    assert not [*report.adapted, *report.reinitialized, *report.missing, *report.unexpected, *report.ignored]
    assert net.config["backbone_options"].items() >= case.options.items()


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.golden)
def test_sizes_are_the_published_ones(case: Case) -> None:
    published = golden.facts(case.golden)
    _, _, frames, size, _ = published["mac_input"]
    sizes = sizes_of(**case.arguments(clip_length=frames, size=size))
    assert sizes.parameters == published["params"]
    assert sizes.macs == published["macs"]["total"]
    for ours, theirs in {"conv": "conv", "linear": "linear", "batch_norm": "bn", "relu": "relu"}.items():
        assert sizes.operations[ours] == published["macs"][theirs], ours


def between_is_published(case: Case) -> None:
    """Compare everything between clip and answer: SRTG's features are so small that the answer hardly shows them."""
    file = golden.arrays(case.golden)
    rows = {
        str(name): (wanted, head)
        for name, wanted, head in zip(file["stat_names"], file["stats"], file["stat_heads"], strict=True)
        if str(name).startswith(("stem", "layer"))
    }
    net, clip_1CTHW = case.loaded()
    with torch.inference_mode(), recorded(net, [name for name in rows if name != "stem"]) as found:
        net(clip_1CTHW)
    rows = {name: row for name, row in rows.items() if name in found}
    assert len(rows) > 16
    for name, (wanted, head) in rows.items():
        if name in ("stem.0", "stem.1", "stem.3", "stem.4"):
            continue  # what follows works in place
        scale = float(wanted[1])
        ours = statistics(found[name])
        assert np.abs(np.array(ours[:4]) - wanted[:4]).max() < TOLERANCE * scale, name
        assert ours[4] == pytest.approx(float(wanted[4]), rel=TOLERANCE), name
        assert np.abs(found[name].flatten()[:8].numpy() - head).max() < TOLERANCE * scale, name


def answers_as_published(case: Case) -> None:
    net, clip_1CTHW = case.loaded()
    expected = golden.answer(case.golden)
    with torch.inference_mode():
        assert golden.relative_error(net(clip_1CTHW), expected) < TOLERANCE
        pair = net(torch.cat([clip_1CTHW.flip(2), clip_1CTHW]))
    assert golden.relative_error(pair[1:], expected) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("case", ALL, ids=lambda case: case.golden)
def test_answers_are_the_published_ones(case: Case) -> None:
    answers_as_published(case)
    between_is_published(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", ALL, ids=lambda case: case.golden)
def test_in_float64_they_are_the_same_number(case: Case) -> None:
    net, clip_1CTHW = case.loaded()
    with torch.inference_mode():
        answer = net.double()(clip_1CTHW.double())
    assert golden.relative_error(answer, golden.exact_answer(case.golden)) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("case", ALL, ids=lambda case: case.golden)
def test_gradients_of_published_weights_are_finite(case: Case) -> None:
    net, clip_1CTHW = case.loaded()
    logits_NK = net.train()(torch.cat([clip_1CTHW, clip_1CTHW.flip(2)]))
    (logits_NK / logits_NK.detach().std()).square().mean().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@pytest.mark.parametrize(
    ("backbone", "options", "size", "num_classes", "millions", "gmacs"),
    [  # measured on the published program: 16 frames
        ("r2plus1d_50", {"family": "srtg"}, 224, 400, "34.863", "24.8302"),
        ("resnet3d_50", {"family": "srtg"}, 224, 51, "36.546", "26.4673"),
        ("resnet3d_50", {"family": "srtg"}, 224, 400, "36.725", "26.4674"),
        ("srtg_r2plus1d_101", {}, 224, 51, "105.115", "37.5619"),
        ("srtg_r2plus1d_101", {}, 224, 400, "105.294", "37.5620"),
        ("srtg_r2plus1d_50", {}, 224, 51, "54.864", "24.8610"),
        ("srtg_r2plus1d_50", {}, 224, 400, "55.043", "24.8612"),
        ("srtg_r3d_101", {}, 224, 51, "106.956", "39.1991"),
        ("srtg_r3d_101", {}, 224, 400, "107.135", "39.1993"),
        ("srtg_r3d_34", {}, 224, 51, "83.682", "42.6765"),
        ("srtg_r3d_50", {}, 224, 400, "56.905", "26.4984"),
        ("mtnet_xs", {}, 256, 51, "21.657", "20.7800"),
        ("mtnet_s", {}, 224, 400, "39.982", "18.5498"),
        ("mtnet_s", {}, 256, 400, "39.982", "24.2204"),
        ("mtnet_m", {}, 256, 51, "43.859", "33.0479"),
        ("mtnet_m", {}, 224, 400, "44.038", "25.3091"),
        ("mtnet_m", {}, 256, 400, "44.038", "33.0480"),
        ("mtnet_m", {"ratio": 0.25}, 256, 400, "35.770", "12.0524"),
        ("mtnet_m", {"ratio": 0.375}, 256, 400, "30.809", "13.9330"),
        ("mtnet_m", {"ratio": 0.5}, 256, 400, "29.155", "16.9729"),
        ("mtnet_m", {"ratio": 0.625}, 256, 400, "30.809", "21.1720"),
        ("mtnet_m", {"ratio": 0.75}, 256, 400, "35.770", "26.5304"),
        ("mtnet_l", {}, 256, 51, "87.954", "49.7379"),
        ("mtnet_l", {}, 224, 400, "88.133", "38.0923"),
        ("mtnet_l", {}, 256, 400, "88.133", "49.7381"),
    ],
)
def test_sizes_of_the_others_are_the_published_ones(
    backbone: str, options: dict[str, Any], size: int, num_classes: int, millions: str, gmacs: str
) -> None:
    found = sizes_of(
        backbone=backbone,
        head="tgap",
        num_classes=num_classes,
        clip_length=16,
        size=size,
        backbone_options=options,
    )
    assert (f"{found.parameters / 1e6:.3f}", f"{found.macs / 1e9:.4f}") == (millions, gmacs)


@pytest.mark.parametrize(
    ("layout", "backbone", "options", "count"),
    [  # entries of the published state dicts of 51 classes
        ("srtg_r3d", "srtg_r3d_34", {}, 346),
        ("srtg_plain_r3d", "resnet3d_50", {"family": "srtg"}, 314),
        pytest.param("srtg_r3d", "srtg_r3d_101", {}, 884, marks=pytest.mark.slow),
        pytest.param("srtg_r2plus1d", "srtg_r2plus1d_50", {}, 544, marks=pytest.mark.slow),
        pytest.param("srtg_r2plus1d", "srtg_r2plus1d_101", {}, 1088, marks=pytest.mark.slow),
        pytest.param("mtnet", "mtnet_xs", {}, 588, marks=pytest.mark.slow),
        pytest.param("mtnet", "mtnet_m", {}, 1132, marks=pytest.mark.slow),
        pytest.param("mtnet", "mtnet_l", {}, 2288, marks=pytest.mark.slow),
    ],
)
def test_published_names_of_the_others_are_read(
    layout: str, backbone: str, options: dict[str, Any], count: int
) -> None:
    with unallocated():
        net = build_recognizer(backbone=backbone, head="tgap", num_classes=51, backbone_options=options)
    state = {
        published_name(key, layout, basic=backbone.endswith("_34")): tensor for key, tensor in net.state_dict().items()
    }
    assert len(state) == count
    report = load_published(net, state)
    assert report.layout == layout
    assert len(report.loaded) == count
    assert not [*report.missing, *report.unexpected, *report.ignored]


def published_name(key: str, layout: str, basic: bool) -> str:
    """Return the name that the published programs give to a parameter of ours, in basic blocks or in others."""
    replaced = {"backbone.": "", "classifier.": "fc.", ".block.": "."}
    if layout == "mtnet":
        replaced |= {"lateral.": "conv_short2long.", "recursion_": "sr_", ".cells.": ".op."}
    else:
        replaced |= {".recursion.cells.": ".sar.lstm."}
    for ours, theirs in replaced.items():
        key = key.replace(ours, theirs)
    if layout not in ("srtg_r3d", "srtg_plain_r3d"):
        return key
    key = re.sub(r"\.bn(\d)\.", r".conv\1.1.", key)
    inside = "[123]" if basic else "2"  # convolutions over frames lie in a wrapper of their own
    key = re.sub(rf"\.conv({inside})\.weight", r".conv\1.0.0.weight", key)
    return re.sub(r"\.conv([13])\.weight", r".conv\1.0.weight", key)
