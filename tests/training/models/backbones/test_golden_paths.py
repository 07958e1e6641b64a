"""I3D and SlowFast against the published implementations, with weights made from the published key names."""

from typing import Any

import pytest
import torch

from kinebert.training.models import Recognizer, build_recognizer, load_published
from kinebert.training.models.sizes.unallocated import unallocated
from tests.helpers import golden

I3D = {"backbone": "i3d", "head": "tgap", "clip_length": 64, "size": 224}
SLOWFAST = {"backbone": "slowfast_50", "head": "tgap", "clip_length": 64, "size": 224}
NETWORKS: dict[str, dict[str, Any]] = {
    "pi3d_rgb_400": {**I3D, "num_classes": 400, "clip_length": 16},
    "artest08_rgb_I3D64f": I3D,
    "artest08_rgb_I3D64f_bert2_FRAB": {**I3D, "reduction": "frab", "head": "bert", "size": 112},
    "pyslowfast_slowfast_8x8_r50": {**SLOWFAST, "clip_length": 32, "size": 64},
    "artest08_rgb_slowfast64f_50": SLOWFAST,
    "artest08_rgb_slowfast64f_50_bert10_FRAB_late": {**SLOWFAST, "reduction": "frab", "head": "bert_late"},
}
BIG = {"artest08_rgb_I3D64f", "artest08_rgb_slowfast64f_50", "artest08_rgb_slowfast64f_50_bert10_FRAB_late"}
"""64 frames of 224 pixels."""
UNUSED = {"artest08_rgb_slowfast64f_50_bert10_FRAB_late": 2304 * 400 + 400}
"""Parameters of PySlowFast's own classifier, which the published network keeps and does not use."""
NAMES = [pytest.param(name, marks=pytest.mark.slow if name in BIG else ()) for name in NETWORKS]


def network(name: str) -> Recognizer:
    return build_recognizer(**{"num_classes": 51, **NETWORKS[name]})


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_the_published_ones(name: str) -> None:
    net = network(name).eval()
    load_published(net, golden.state(name))
    x_NCTHW = golden.given(name)
    theirs_NK = golden.answer(name).reshape(1, -1)  # pytorch-i3d has an axis of time, of length 1 for 16 frames
    with torch.inference_mode():
        logits_NK = net(torch.cat([x_NCTHW, x_NCTHW.flip(4)]))
    # measured: pi3d 1.2e-6, I3D 1.0e-6, with BERT 2.0e-6, PySlowFast 1.2e-6, SlowFast 1.7e-6, late 1.0e-6
    assert golden.relative_error(logits_NK[:1], theirs_NK) < 1e-5
    assert golden.relative_error(logits_NK[1:], theirs_NK) > 1e-3, "the second clip is another one"
    if name not in BIG:
        with torch.inference_mode():
            assert golden.relative_error(net(x_NCTHW), theirs_NK) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_training_are_finite(name: str) -> None:
    net = network(name).train()
    load_published(net, golden.state(name))
    x_NCTHW = golden.given(name)[..., :64, :64]  # their size is of no consequence here, but for the time
    (net(torch.cat([x_NCTHW, x_NCTHW.flip(4)])) / golden.answer(name).std()).square().mean().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@pytest.mark.parametrize("name", NETWORKS)
def test_every_published_key_has_a_place(name: str) -> None:
    with unallocated():
        net = network(name)
    state = golden.unallocated(name)
    report = load_published(net, state)
    assert len(report.loaded) == len(net.state_dict()) == len(state) - len(report.ignored)
    assert not any((report.adapted, report.reinitialized, report.missing, report.unexpected))
    assert all(key.startswith("model.head.projection.") for key in report.ignored)

    facts = golden.facts(name)
    assert sum(p.numel() for p in net.parameters()) == facts["params"] - UNUSED.get(name, 0)
