"""C3D and bLVNet-TAM: what their clips must be, and C3D's weights under the other names that they are published by."""

import pytest
import torch
from torch import Tensor

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models import build_recognizer, load_published
from kinebert.training.models.sizes.unallocated import unallocated
from tests.helpers import golden


@pytest.mark.parametrize(("frames", "size"), [(15, 112), (16, 95), (16, 128), (16, 224)])
def test_clips_that_the_linear_layers_do_not_fit_are_refused(frames: int, size: int) -> None:
    with pytest.raises(ConfigError, match=rf"16 frames at least, and of 112 pixels .*{frames} frames of {size}x{size}"):
        build_recognizer(backbone="c3d", head="tgap", num_classes=2, clip_length=frames, size=size, width=0.125)


@torch.inference_mode()
def test_each_sixteen_frames_are_a_step() -> None:
    net = build_recognizer(backbone="c3d", head="bert", num_classes=2, clip_length=50, size=112, width=0.125).eval()
    assert net.backbone(torch.randn(2, 3, 50, 112, 112)).shape == (2, 512, 3, 1, 1)
    assert net(torch.randn(1, 3, 50, 100, 120)).shape == (1, 2), "96 to 127 pixels leave the same map"


def converted(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return mmaction2's state under the names of the authors' Caffe layers."""
    changes = {"backbone.": "", ".conv.": ".", "conv1a": "conv1", "conv2a": "conv2", "cls_head.fc_cls": "fc8"}
    found = {}
    for key, value in state.items():
        for theirs, other in changes.items():
            key = key.replace(theirs, other)
        found[key] = value
    return found


def test_the_converted_names_of_caffe_are_read() -> None:
    state = converted(golden.unallocated("mmaction2_c3d"))
    assert {"conv1.weight", "conv2.bias", "conv3a.weight", "fc6.weight", "fc8.bias"} < state.keys()
    with unallocated():
        net = build_recognizer(backbone="c3d", head="tgap", num_classes=51, clip_length=16, size=112)
    report = load_published(net, state)
    assert report.layout == "c3d_caffe"
    assert sorted(report.loaded) == sorted(net.state_dict())
    assert net.spec.mean == (0.0, 0.0, 0.0)
    assert net.spec.value_range == (0.0, 255.0)


def test_mmaction2s_start_without_a_classifier_is_read() -> None:
    state = golden.unallocated("mmaction2_c3d")
    start = {key.removeprefix("backbone."): value for key, value in state.items() if key.startswith("backbone.")}
    with unallocated():
        net = build_recognizer(backbone="c3d", head="tgap", num_classes=7, clip_length=16, size=112)
    report = load_published(net, {"state_dict": start})
    assert report.layout == "mmaction2_c3d"
    assert report.reinitialized == ["classifier.weight", "classifier.bias"]
    assert net.spec.mean == (104.0, 117.0, 128.0)


def test_pairs_of_frames_are_of_an_even_number() -> None:
    with pytest.raises(ConfigError, match="in pairs, so an even number of them, got 7"):
        build_recognizer(backbone="blvnet_tam_50", head="tgap", num_classes=2, clip_length=7, size=32, width=0.125)
    for option in ("alpha", "beta"):
        with pytest.raises(ConfigError, match=f"{option} must be at least 1, got 0"):
            build_recognizer(backbone="blvnet_tam_50", head="tgap", num_classes=2, backbone_options={option: 0})
