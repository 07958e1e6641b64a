"""What networks of pictures promise under every temporal module, with and without pooling: one suite over all."""

import itertools
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kinebert.training.models import Recognizer, build_recognizer
from kinebert.training.models.registry import BACKBONES, backbone_options
from kinebert.training.models.temporal.registry import TEMPORAL

SMALL = ("resnet18", "resnet50", "inceptionv1")
FRAMES, SIZE = 16, 32
"""Pooling leaves two frames of these, so that the weights for a frame's neighbours have something to learn from."""
BLIND = {"none", "avg", "max", "nonlocal"}
"""Modules by which the mean over a clip is that of the clip played backwards."""
NAMES = [*sorted(TEMPORAL), "tsm+nonlocal"]
EVERY = 9
"""One network in so many is in the fast run; the others take minutes."""
ALL = [
    pytest.param(backbone, temporal, pooling, id=f"{backbone}-{temporal}{'-pooled' * pooling}", marks=marks)
    for i, (backbone, temporal, pooling) in enumerate(itertools.product(SMALL, NAMES, (False, True)))
    for marks in [[pytest.mark.slow] if i % EVERY else []]
]


def build(backbone: str, temporal: str, pooling: bool, **changes: Any) -> Recognizer:
    torch.manual_seed(5)
    return build_recognizer(
        **{
            "backbone": backbone,
            "backbone_options": {"temporal": temporal, "temporal_pooling": pooling},
            "head": "tgap",
            "num_classes": 5,
            "clip_length": FRAMES,
            "size": SIZE,
            "width": 0.125,
            "reduction_width": 128,
            "dropout": 0.0,
            **changes,
        }
    )


def clips(count: int, frames: int = FRAMES) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    drift = torch.linspace(-1, 1, frames)[:, None, None]
    return torch.randn(count, 3, frames, SIZE, SIZE, generator=generator) + drift


def awaken(net: Recognizer) -> None:
    """Fill what starts at zero, as the last norm of a non-local block does, and hides what lies before it.

    The norms get the statistics of some clips: with those they start with, what a clip shows fades on its way.
    """
    norms = [module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
        for norm in norms:
            norm.momentum = None
        net.train()(clips(8))
    net.eval()


@pytest.mark.parametrize(("backbone", "temporal", "pooling"), ALL)
def test_a_network_of_pictures_keeps_its_promises(backbone: str, temporal: str, pooling: bool) -> None:
    net, x_NCTHW = build(backbone, temporal, pooling), clips(2).double()
    awaken(net)
    net.double()  # norms of few values magnify what float32 rounds away
    with torch.inference_mode():
        map_NFTHW, logits_NK = net.backbone(x_NCTHW), net(x_NCTHW)
        assert map_NFTHW.shape[:3] == (2, net.backbone.num_features, net.backbone.num_steps(FRAMES))
        alone_NK = torch.cat([net(clip[None]) for clip in x_NCTHW])
        back_NK = net(x_NCTHW.flip(2))
    torch.testing.assert_close(alone_NK, logits_NK, msg="clips of a batch do not meet", atol=1e-9, rtol=1e-9)
    seen = float((back_NK - logits_NK).abs().max() / logits_NK.std())
    assert (seen > 1e-3) == (pooling or temporal not in BLIND), "pools of every second frame see order as well"
    net.train()(clips(3).double()).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if not name.endswith("key.bias"):  # softmax is blind to a shift of all scores
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(("backbone", "temporal", "pooling"), ALL)
def test_recomputed_stages_have_the_same_gradients(backbone: str, temporal: str, pooling: bool) -> None:
    nets = [build(backbone, temporal, pooling, checkpointing=kept) for kept in (False, True)]
    for net in nets:
        net.train()(clips(2)).square().sum().backward()
    first, second = ({name: parameter.grad for name, parameter in net.named_parameters()} for net in nets)
    torch.testing.assert_close(second, first)


@pytest.mark.slow
@pytest.mark.parametrize("reduction", ["frab", "frmb"])
@pytest.mark.parametrize(("backbone", "temporal", "pooling"), ALL)
def test_features_are_reduced(backbone: str, temporal: str, pooling: bool, reduction: str) -> None:
    net = build(backbone, temporal, pooling, reduction=reduction, head="bert").eval()
    assert net.backbone.num_features == 16
    with torch.inference_mode():
        assert net(clips(2)).isfinite().all()
    state = build(backbone, temporal, pooling, reduction=reduction, head="bert").state_dict()
    net.load_state_dict(state, strict=True)


@pytest.mark.parametrize(
    ("backbone", "temporal", "pooling"),
    [("resnet18", "tsm", True), *(pytest.param(*param.values, marks=pytest.mark.slow) for param in ALL)],
)
def test_it_is_exported_for_every_batch(backbone: str, temporal: str, pooling: bool) -> None:
    net, x_NCTHW = build(backbone, temporal, pooling).eval(), clips(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(
            net, (clips(2),), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},)
        ).module()
    with torch.inference_mode():
        torch.testing.assert_close(exported(x_NCTHW), net(x_NCTHW), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("backbone", SMALL)
def test_configurations_of_before_temporal_modules_are_frames_by_themselves(backbone: str) -> None:
    plain = build_recognizer(backbone=backbone, head="tgap", num_classes=5, clip_length=4, size=SIZE, width=0.125)
    assert set(plain.state_dict()) == set(build(backbone, "none", False).state_dict())
    assert plain.config["backbone_options"]["temporal"] == "none"


def test_every_network_of_pictures_has_every_temporal_module() -> None:
    options = {name: backbone_options(name, {}) for name in BACKBONES}
    taking = {name: given for name, given in options.items() if "temporal" in given}
    assert {*SMALL, "resnet34", "resnet101", "resnet152"} <= set(taking)
    for given in taking.values():
        assert {"temporal_pooling", "shift_div", "shift_place", "shift_online", "nonlocal_blocks"} <= set(given)


@pytest.mark.parametrize("place", ["block", "blockres"])
def test_a_shift_stands_where_it_is_told(place: str) -> None:
    options = {"temporal": "tsm", "shift_place": place, "shift_online": True}
    net = build("resnet18", "tsm", False, backbone_options=options).eval()
    x_NCTHW = clips(1)
    changed_NCTHW = x_NCTHW.clone()
    changed_NCTHW[:, :, 5:] = 0
    with torch.inference_mode():
        before, after = net.backbone(x_NCTHW), net.backbone(changed_NCTHW)
    torch.testing.assert_close(before[:, :, :5], after[:, :, :5], msg="what is on-line knows nothing of later frames")
    assert not torch.allclose(before[:, :, 5:], after[:, :, 5:])
