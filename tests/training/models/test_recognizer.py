"""Recognizers by name: what they see, how wide they are, and what a wrong request says."""

import pytest
import torch

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models import InputSpec, build_recognizer
from kinebert.training.models.heads.average import tgap
from kinebert.training.models.sizes.unallocated import unallocated


def test_tgap_is_the_mean_and_blind_to_order() -> None:
    features_NFTHW = torch.arange(2 * 3 * 4 * 2 * 2, dtype=torch.float64).reshape(2, 3, 4, 2, 2)
    pooled_NF = tgap(3, 4)(features_NFTHW)
    assert pooled_NF.tolist() == [[7.5, 23.5, 39.5], [55.5, 71.5, 87.5]]
    assert torch.equal(tgap(3, 4)(features_NFTHW.flip(2)), pooled_NF)


@pytest.mark.parametrize("modality", ["rgb", "flow"])
def test_only_bert_tells_a_clip_from_its_reverse(modality: str) -> None:
    def change_on_reversal(head: str) -> float:
        torch.manual_seed(0)
        net = build_recognizer(
            backbone="resnet18", head=head, modality=modality, num_classes=4, clip_length=8, size=32, width=0.25
        ).eval()
        x_NCTHW = torch.randn(2, len(net.spec.mean), 8, 32, 32) + torch.linspace(-1, 1, 8)[:, None, None]
        with torch.inference_mode():
            return float((net(x_NCTHW) - net(x_NCTHW.flip(2))).abs().max() / net(x_NCTHW).std())

    assert change_on_reversal("tgap") < 1e-4  # measured 1e-6
    assert change_on_reversal("bert") > 5e-4  # measured 1e-3 (rgb) and 2e-2 (flow): fresh positions are faint


@pytest.mark.parametrize(("width", "num_features"), [(1.0, 512), (0.5, 256), (0.3, 152), (0.25, 128), (0.01, 8)])
@pytest.mark.parametrize("backbone", ["resnet18", "r2plus1d_18", "r2plus1d_34"])
def test_width_scales_the_features_in_eights(backbone: str, width: float, num_features: int) -> None:
    with unallocated():
        net = build_recognizer(backbone=backbone, width=width, num_classes=2)
        assert net.backbone.num_features == num_features
        assert net(torch.empty(1, 3, 16, 112, 112)).shape == (1, 2)


@pytest.mark.parametrize(("backbone", "num_parameters"), [("resnet18", 11_176_512), ("r2plus1d_34", 63_491_975)])
def test_full_width_is_the_published_size(backbone: str, num_parameters: int) -> None:
    """torchvision's resnet18 (11,689,512) and the IG-65M network with 51 classes (63,518,138), without their fc."""
    with unallocated():
        net = build_recognizer(backbone=backbone, head="tgap", num_classes=2)
    assert sum(p.numel() for p in net.backbone.parameters()) == num_parameters


def test_normalisation_is_that_of_the_backbone_and_modality() -> None:
    def spec(backbone: str, modality: str) -> InputSpec:
        return build_recognizer(
            backbone=backbone, modality=modality, num_classes=2, width=0.125, frame_interval=2, frame_size=(171, 128)
        ).spec

    imagenet = spec("resnet18", "rgb")
    assert (imagenet.mean, imagenet.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (imagenet.frame_interval, imagenet.size) == (2, (171, 128))
    kinetics = spec("r2plus1d_18", "rgb")
    assert (kinetics.mean, kinetics.std) == ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
    assert spec("r2plus1d_34", "flow").mean == (0.5, 0.5)
    assert spec("resnet18", "flow").std == (0.226, 0.226)


def test_classifier_starts_neutral() -> None:
    net = build_recognizer(backbone="resnet18", head="tgap", num_classes=40, width=0.5)
    assert torch.equal(net.classifier.bias, torch.zeros(40))
    bound = (6 / (256 + 40)) ** 0.5  # Xavier-uniform
    assert 0.98 * bound < net.classifier.weight.abs().max() <= bound
    assert net.dropout.p == 0.8


def test_a_clip_of_another_length_is_an_error_with_the_numbers() -> None:
    net = build_recognizer(backbone="r2plus1d_18", num_classes=2, clip_length=16, size=32, width=0.125).eval()
    with pytest.raises(ConfigError, match=r"clip of 24 frames, which are 3 time steps .* 'bert' .* 16 frames.* 2\."):
        net(torch.zeros(1, 3, 24, 32, 32))
    with pytest.raises(ConfigError, match=r"clip of 8 frames, which are 1 time steps"):
        net(torch.zeros(1, 3, 8, 32, 32))
    with pytest.raises(ConfigError, match=r"rgb recognizer takes clips \(N, 3, T, H, W\), got \(1, 2, 16, 32, 32\)"):
        net(torch.zeros(1, 2, 16, 32, 32))
    average = build_recognizer(backbone="r2plus1d_18", head="tgap", num_classes=2, size=32, width=0.125).eval()
    assert average(torch.zeros(1, 3, 24, 32, 32)).shape == (1, 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"backbone": "r2plus1d_43"}, r"There is no backbone 'r2plus1d_43'\. Did you mean r2plus1d_34 or r2plus1d"),
        ({"backbone": "x"}, r"There is no backbone 'x'\. There are: .*r2plus1d_18, r2plus1d_34,"),
        ({"head": "brt"}, r"There is no head 'brt'\. Did you mean bert\?"),
        ({"modality": "flwo"}, r"There is no modality 'flwo'\. Did you mean flow\?"),
        ({"reduction": "frmd"}, r"There is no reduction 'frmd'\. Did you mean frmb"),
        ({"num_head": 4}, r"The head 'bert' has no option 'num_head'\. Did you mean num_heads\?"),
        ({"head": "none", "num_heads": 4}, r"The head 'none' has no option 'num_heads'\. There are none\."),
        ({"num_heads": 7}, r"num_features \(64\) must be a multiple of num_heads \(7\)"),
        ({"num_layers": 0}, r"num_layers must be at least 1, got 0"),
        ({"keep_prob": 0.0}, r"keep_prob must be above 0 and at most 1, got 0\.0"),
        ({"bert_dropout": 1.0}, r"bert_dropout must be at least 0 and below 1, got 1\.0"),
        ({"init": "bert3"}, r"init must be bert5 or bert2, got 'bert3'"),
        ({"num_classes": 0}, r"num_classes must be positive, got 0"),
        ({"clip_length": -1}, r"clip_length must be positive, got -1"),
        ({"width": 0.0}, r"width must be positive, got 0\.0"),
        ({"dropout": 1.5}, r"dropout must be at least 0 and below 1, got 1\.5"),
        ({"frame_interval": 0}, r"frame_interval must be positive, got 0"),
        ({"frame_size": (0, 128)}, r"size must be a width and a height in pixels, got \(0, 128\)"),
    ],
)
def test_a_wrong_request_is_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_recognizer(**{"num_classes": 2, "width": 0.125, **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"backbone_options": {"famly": "hara"}},
            r"The backbone 'r2plus1d_18' has no option 'famly'\. Did you mean",
        ),
        ({"backbone_options": {"family": "tv"}}, r"family"),
        ({"flow_stack": 5}, r"flow_stack is 5, but only flow is stacked, and this is rgb"),
        ({"flow_stack": 0, "modality": "flow"}, r"flow_stack must be positive, got 0"),
        ({"reduction_width": 0}, r"reduction_width must be positive, got 0"),
        ({"head": "bert_late"}, r"'bert_late' takes several pathways, and the backbone 'r2plus1d_18' has one"),
    ],
)
def test_parts_that_do_not_fit_each_other_are_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_recognizer(**{"num_classes": 2, "width": 0.125, **wrong})  # type: ignore[arg-type]


def test_the_network_of_the_paper_in_one_call() -> None:
    with unallocated():
        net = build_recognizer(
            backbone="i3d",
            reduction="frab",
            head="bert",
            modality="flow",
            num_classes=51,
            clip_length=64,
            size=224,
        )
        assert net(torch.empty(2, 2, 64, 224, 224)).shape == (2, 51)
    assert round(sum(p.numel() for p in net.parameters()) / 1e6, 2) == 16.37


def test_poses_are_pictures_and_flow_is_stacked_field_by_field() -> None:
    pose = build_recognizer(backbone="resnet18", modality="pose", num_classes=2, width=0.125)
    assert (pose.spec.modality, len(pose.spec.mean)) == ("pose", 3)
    stacked = build_recognizer(backbone="resnet18", modality="flow", flow_stack=3, num_classes=2, width=0.125)
    assert (stacked.spec.flow_stack, stacked.spec.mean) == (3, (0.5, 0.5) * 3)
    assert stacked.config["flow_stack"] == 3
    with pytest.raises(ConfigError, match=r"a flow recognizer takes clips \(N, 6, T, H, W\), got \(1, 2, 16, 32, 32\)"):
        stacked(torch.zeros(1, 2, 16, 32, 32))


def test_a_backbone_is_rebuilt_as_another_variant() -> None:
    net = build_recognizer(backbone="resnet3d_18", num_classes=2, width=0.125, size=32).double().eval()
    head = net.head.state_dict()
    net.rebuild({"shortcut": "A"})
    assert net.config["backbone_options"] == {"family": "hara", "shortcut": "A"}
    assert not net.backbone.training
    assert net(torch.zeros(1, 3, 16, 32, 32, dtype=torch.float64)).shape == (1, 2)
    assert all(torch.equal(tensor, head[name]) for name, tensor in net.head.state_dict().items())
    assert build_recognizer(**net.config).state_dict().keys() == net.state_dict().keys()
    with pytest.raises(ConfigError, match=r"has no option 'depth'"):
        net.rebuild({"depth": 3})
    with pytest.raises(ConfigError, match=r"the backbone 'resnet3d_18' leaves other features than those that the head"):
        net.rebuild({"family": "torchvision"})  # twice as many time steps
