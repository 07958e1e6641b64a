"""ImageNet's weights in networks of pictures under every temporal module, as the published programs load them."""

import pytest
import torch
from torch import Tensor

from kinebert.training.models import Recognizer, build_recognizer, load_published
from kinebert.training.models.temporal.registry import TEMPORAL

RESNET = (("backbone.", ""), ("stem.0.", "conv1."), ("stem.1.", "bn1."), ("classifier.", "fc."))
GOOGLENET = (
    ("backbone.", ""),
    ("classifier.", "fc."),
    (".norm.", ".bn."),
    *((f"mixed{ours}.", f"inception{theirs}.") for ours, theirs in (("3b", "3a"), ("5c", "5b"))),
    *((f"mixed4{ours}.", f"inception4{theirs}.") for ours, theirs in zip("bcdef", "abcde", strict=True)),
    ("mixed3c.", "inception3b."),
    ("mixed5b.", "inception5a."),
    ("point.", "branch1."),
    ("first_reduce.", "branch2.0."),
    ("first.", "branch2.1."),
    ("second_reduce.", "branch3.0."),
    ("second.", "branch3.1."),
    ("pooled.", "branch4.1."),
)
NAMES = {"resnet18": RESNET, "resnet50": RESNET, "inceptionv1": GOOGLENET}


def small(backbone: str, temporal: str) -> Recognizer:
    options = {"temporal": temporal}
    return build_recognizer(
        backbone=backbone,
        backbone_options=options,
        head="tgap",
        num_classes=5,
        clip_length=4,
        size=64,
        width=0.125,
    )


def pictures(backbone: str) -> dict[str, Tensor]:
    """Return weights of a network of pictures under torchvision's names."""
    torch.manual_seed(3)

    def renamed(key: str) -> str:
        for ours, theirs in NAMES[backbone]:
            key = key.replace(ours, theirs)
        return key

    return {renamed(key): tensor for key, tensor in small(backbone, "none").state_dict().items()}


@pytest.mark.parametrize("backbone", sorted(NAMES))
@pytest.mark.parametrize("temporal", sorted(TEMPORAL))
def test_pictures_go_into_every_temporal_module(backbone: str, temporal: str) -> None:
    state = pictures(backbone)
    plain, net = small(backbone, "none"), small(backbone, temporal)
    load_published(plain, state)
    fresh = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    report = load_published(net, state)
    assert report.layout == ("torchvision_googlenet" if backbone == "inceptionv1" else "torchvision_2d")
    assert net.config["backbone_options"]["temporal"] == temporal, "the module that was asked for stays"
    assert not [*report.missing, *report.unexpected, *report.ignored]
    assert len(report.loaded) + len(report.adapted) == len(state), "every weight has its place"
    for key, tensor in net.state_dict().items():
        if key in report.reinitialized:
            assert torch.equal(tensor, fresh[key])
        elif not key.endswith("num_batches_tracked"):
            found = plain.state_dict()[key]
            assert torch.equal(tensor, found[:, :, None].expand_as(tensor) if tensor.ndim == 5 else found)
    added = {name.split(".")[-2 if name.split(".")[-1] in ("weight", "bias") else -1] for name in report.reinitialized}
    assert bool(added) == (temporal in ("tam", "conv1d", "nonlocal"))
    spread = [name for name in report.adapted if "spread over" in report.reasons[name]]
    assert bool(spread) == (temporal in ("conv3d", "conv1d"))
    assert not [name for name in spread if "divided" in report.reasons[name]]


def test_who_asks_for_it_divides() -> None:
    state, net = pictures("resnet18"), small("resnet18", "conv3d")
    report = load_published(net, state, inflation="divide")
    assert report.reasons["backbone.stem.0.weight"] == "spread over 3 time steps, divided by 3"
    assert torch.equal(net.state_dict()["backbone.stem.0.weight"][:, :, 1], state["conv1.weight"] / 3)


def test_auxiliary_classifiers_of_googlenet_have_no_use() -> None:
    state = pictures("inceptionv1")
    state["aux1.fc2.weight"] = torch.zeros(5, 8)
    report = load_published(small("inceptionv1", "tam"), state)
    assert report.ignored == ["aux1.fc2.weight"]
