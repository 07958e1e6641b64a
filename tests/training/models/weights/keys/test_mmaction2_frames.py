"""mmaction2's TSN and TSM: its names, made from ours as its modules nest, lead back to the same network."""

import re

import pytest
import torch

from kinebert.training.models import Recognizer, build_recognizer, load_published


def network(temporal: str) -> Recognizer:
    return build_recognizer(
        backbone="resnet50",
        head="tgap",
        num_classes=5,
        clip_length=8,
        size=32,
        width=0.125,
        backbone_options={"temporal": temporal},
    )


def their_name(ours: str, shifted: bool) -> str:
    if match := re.fullmatch(r"(backbone\.layer\d\.\d+)\.conv(\d)\.weight", ours):
        return f"{match[1]}.conv{match[2]}.conv.{'net.' * (shifted and match[2] == '1')}weight"
    name = re.sub(r"(layer\d\.\d+)\.bn(\d)\.", r"\1.conv\2.bn.", ours)
    for old, new in {
        "stem.0.": "conv1.conv.",
        "stem.1.": "conv1.bn.",
        "downsample.0.": "downsample.conv.",
        "downsample.1.": "downsample.bn.",
        "classifier.": "cls_head.fc_cls.",
    }.items():
        name = name.replace(old, new)
    return name


@pytest.mark.parametrize("temporal", ["none", "tsm"])
def test_every_key_is_placed_and_tells_whether_channels_are_shifted(temporal: str) -> None:
    theirs = network(temporal)
    state = {their_name(name, temporal == "tsm"): tensor for name, tensor in theirs.state_dict().items()}
    assert len(state) == 320, "as many as were counted there"
    ours = network("none" if temporal == "tsm" else "tsm")
    report = load_published(ours, {"state_dict": state})
    assert (report.layout, ours.config["backbone_options"]["temporal"]) == ("mmaction2_resnet_2d", temporal)
    assert not report.missing + report.unexpected
    x_NCTHW = torch.randn(1, 3, 8, 32, 32)
    with torch.inference_mode():
        assert torch.equal(ours.eval()(x_NCTHW), theirs.eval()(x_NCTHW))
