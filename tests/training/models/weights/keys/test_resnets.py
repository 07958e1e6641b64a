"""Published names of residual networks: recognised, and each with its own input. The golden files hold more of them."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from kinebert.preprocessing.errors import UserError
from kinebert.training.models import Recognizer, build_recognizer, load_published
from kinebert.training.models.inputs import ACTIVITYNET, BYTE_FLOW, HARA
from kinebert.training.models.registry import backbone_options
from kinebert.training.models.weights.keys import Layout, layouts


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(13)
        yield


def layout(name: str) -> Layout:
    return next(known for known in layouts() if known.name == name)


def small(backbone: str, **changes: Any) -> Recognizer:
    config = {"head": "tgap", "num_classes": 5, "clip_length": 16, "size": 32, "width": 0.125}
    return build_recognizer(**{**config, "backbone": backbone, **changes})


def named_as(net: Recognizer, *names: tuple[str, str]) -> dict[str, Tensor]:
    """Return the weights of a network with its names replaced."""

    def renamed(key: str) -> str:
        for ours, theirs in (*names, ("backbone.", ""), ("classifier.", "fc.")):
            key = key.replace(ours, theirs)
        return key

    return {renamed(key): tensor.clone() for key, tensor in net.state_dict().items()}


HARA_NAMES = (("stem.0.", "conv1."), ("stem.1.", "bn1."))


def without_counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in state.items() if "num_batches" not in key}


@pytest.mark.parametrize(
    ("backbone", "shortcut"),
    [
        *((f"resnet3d_{depth}", shortcut) for depth, shortcut in ((18, "A"), (34, "B"), (50, "A"))),
        *(pytest.param(f"resnet3d_{depth}", "B", marks=pytest.mark.slow) for depth in (101, 152, 200)),
    ],
)
def test_3d_resnets_of_both_years(backbone: str, shortcut: str) -> None:
    source = small(backbone, backbone_options={"shortcut": shortcut})
    state = named_as(source, *HARA_NAMES)
    for given, name, normalization in (
        (state, "kenshohara_2020", HARA),
        ({f"module.{key}": tensor for key, tensor in without_counters(state).items()}, "kenshohara_2018", ACTIVITYNET),
    ):
        net = small(backbone)
        report = load_published(net, {"arch": "resnet", "state_dict": given})
        assert report.layout == name
        assert len(report.loaded) == len(given)
        assert not [*report.missing, *report.unexpected, *report.reinitialized]
        assert net.config["backbone_options"]["shortcut"] == shortcut
        assert (net.spec.mean, net.spec.value_range) == (normalization.mean, normalization.value_range)
        x_NCTHW = torch.randn(2, 3, 16, 32, 32)
        assert torch.equal(net.eval()(x_NCTHW), source.eval()(x_NCTHW))


@pytest.mark.parametrize("modality", ["rgb", "flow"])
@pytest.mark.parametrize("backbone", ["resnext50", "resnext101"])
def test_resnexts_of_mars_and_before(backbone: str, modality: str) -> None:
    state = named_as(small(backbone, modality=modality), *HARA_NAMES)
    net = small(backbone, modality=modality)
    assert load_published(net, state).layout == "mars"
    assert net.spec.mean == {"rgb": ACTIVITYNET, "flow": BYTE_FLOW}[modality].mean
    assert load_published(net, without_counters(state)).layout == "kenshohara_2018"
    other = small(backbone, modality=modality, backbone_options={"cardinality": 16})
    load_published(other, state)
    assert other.config["backbone_options"]["cardinality"] == 32


R2PLUS1D_NAMES = (
    ("stem.0.", "conv1_s."),
    ("stem.1.", "bn1_s."),
    ("stem.3.", "conv1_t."),
    ("stem.4.", "bn1_t."),
    *((f"conv{i}.0.0.", f"conv{i}_s.") for i in (1, 2)),
    *((f"conv{i}.0.1.", f"bn{i}_s.") for i in (1, 2)),
    *((f"conv{i}.0.3.", f"conv{i}_t.") for i in (1, 2)),
)


@pytest.mark.parametrize("backbone", ["r2plus1d_18", "r2plus1d_34", "r2plus1d_50"])
def test_r2plus1d_of_hara(backbone: str) -> None:
    deep = backbone == "r2plus1d_50"
    last = (
        (
            ("conv2.1.", "bn2_t."),
            *((f"conv{i}.0.", f"conv{i}.") for i in (1, 3)),
            *((f"conv{i}.1.", f"bn{i}.") for i in (1, 3)),
        )
        if deep
        else tuple((f"conv{i}.1.", f"bn{i}_t.") for i in (1, 2))
    )
    source = small(backbone, backbone_options={"family": "hara"})
    names = ((".conv1.1.", ".bn1."), (".conv1.0.", ".conv1.")) if deep else ()
    state = named_as(source, *names, *R2PLUS1D_NAMES, *last)
    wanted = {"layer1.0.conv2_s.weight", "layer1.0.bn2_t.weight", "conv1_t.weight", "bn1_s.running_var"}
    wanted |= {"layer2.0.conv3.weight", "layer2.0.bn1.weight"} if deep else {"layer4.1.conv1_t.weight"}
    assert wanted <= state.keys()
    net = small(backbone, clip_length=32)
    report = load_published(net, state)
    assert report.layout == "kenshohara_r2plus1d"
    assert len(report.loaded) == len(state) == len(net.state_dict())
    assert net.config["backbone_options"]["family"] == "hara"
    x_NCTHW = torch.randn(2, 3, 16, 32, 32)
    assert torch.equal(net.eval()(x_NCTHW), source.eval()(x_NCTHW))


@pytest.mark.parametrize("backbone", ["r2plus1d_18", "r2plus1d_34"])
def test_r2plus1d_of_vmz_in_its_caffe2_form(backbone: str) -> None:
    source = small(backbone)
    blocks = {"r2plus1d_18": (2, 2, 2, 2), "r2plus1d_34": (3, 4, 6, 3)}[backbone]
    numbers = {
        f"layer{stage}.{i}": sum(blocks[: stage - 1]) + i for stage in (1, 2, 3, 4) for i in range(blocks[stage - 1])
    }
    endings = {"weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"}
    modules = {
        "stem.0": "conv1_middle",
        "stem.1": "conv1_middle_spatbn_relu",
        "stem.3": "conv1",
        "stem.4": "conv1_spatbn_relu",
        "conv1.0.0": "conv_1_middle",
        "conv1.0.1": "spatbn_1_middle",
        "conv1.0.3": "conv_1",
        "conv1.1": "spatbn_1",
        "conv2.0.0": "conv_2_middle",
        "conv2.0.1": "spatbn_2_middle",
        "conv2.0.3": "conv_2",
        "conv2.1": "spatbn_2",
    }

    def blob(key: str) -> str:
        module, part = key.removeprefix("backbone.").rsplit(".", 1)
        if module == "classifier":
            return f"last_out_L5_{part[0]}"
        ending = "w" if source.get_submodule(f"backbone.{module}").__class__.__name__ == "Conv3d" else endings[part]
        if module.startswith("stem"):
            return f"{modules[module]}_{ending}"
        number, inner = numbers[module[:8]], module[9:]
        if inner.startswith("downsample"):
            return f"shortcut_projection_{number}{'_spatbn' if inner.endswith('1') else ''}_{ending}"
        return f"comp_{number}_{modules[inner]}_{ending}"

    state = {blob(key): tensor.clone() for key, tensor in without_counters(source.state_dict()).items()}
    first = blocks[0]
    assert {
        "conv1_middle_w",
        f"comp_{first}_conv_1_middle_w",
        f"shortcut_projection_{first}_spatbn_riv",
    } <= state.keys()
    net = small(backbone, backbone_options={"family": "torchvision"})
    report = load_published(net, {**state, "lr": torch.zeros(1), "conv1_w_momentum": torch.zeros(1)})
    assert report.layout == f"vmz_{backbone}"
    assert sorted(report.ignored) == ["conv1_w_momentum", "lr"]
    assert len(report.loaded) == len(state)
    assert net.config["backbone_options"]["family"] == "ig65m"
    x_NCTHW = torch.randn(2, 3, 16, 32, 32)
    assert torch.equal(net.eval()(x_NCTHW), source.eval()(x_NCTHW))


def test_r2plus1d_of_ig65m_is_not_torchvisions() -> None:
    for family, name in (("ig65m", "ig65m"), ("torchvision", "torchvision_r2plus1d")):
        state = named_as(small("r2plus1d_18", backbone_options={"family": family}))
        for fresh in ("ig65m", "hara"):
            net = small("r2plus1d_18", clip_length=8, backbone_options={"family": fresh})
            assert load_published(net, state).layout == name
            assert net.config["backbone_options"]["family"] == family


@pytest.mark.parametrize("reduction", [None, "frab", "frmb"])
@pytest.mark.parametrize("modality", ["rgb", "flow"])
def test_pretrained_trunks_start_every_network_of_the_papers(reduction: str | None, modality: str) -> None:
    """RGB weights of 400 classes, into networks of another modality, reduction, head and number of classes."""
    state = named_as(small("resnext101", num_classes=400), *HARA_NAMES)
    net = small("resnext101", modality=modality, reduction=reduction, head="bert")
    report = load_published(net, state, allow=["layer4.2.*"] if reduction == "frmb" else [])
    assert not report.missing
    assert report.adapted == (["backbone.stem.0.weight"] if modality == "flow" else [])
    fresh = {
        name.split(".")[0] if "backbone" not in name else ".".join(name.split(".")[:3]) for name in report.reinitialized
    }
    part = {None: set(), "frab": {"backbone.mapper.conv1"}, "frmb": {"backbone.layer4.2"}}[reduction]
    assert {"head", "classifier", *part} <= fresh
    assert not [name for name in fresh if name.startswith(("backbone.stem", "backbone.layer1", "backbone.layer4.1"))]


def test_weights_of_another_depth_are_refused_with_numbers() -> None:
    state = named_as(small("resnet3d_34"), *HARA_NAMES)
    with pytest.raises(UserError, match=r"do not fit resnet3d_18 \+ tgap: .* have no place \(such as layer1\.2"):
        load_published(small("resnet3d_18"), state)
    with pytest.raises(UserError):
        load_published(small("resnext50"), state)
    with pytest.raises(UserError):
        load_published(small("r2plus1d_34"), state)
    with pytest.raises(UserError):
        load_published(small("resnet34"), state)


@pytest.mark.parametrize("modality", ["rgb", "flow", "pose"])
def test_inputs_are_on_the_scale_of_the_weights(modality: str) -> None:
    """Weights for values around 1 never see bytes, whatever the backbone's own default is, nor the other way round."""
    for backbone, state, top in (
        ("resnet3d_18", named_as(small("resnet3d_18"), *HARA_NAMES), 1.0),
        ("resnet3d_18", without_counters(named_as(small("resnet3d_18"), *HARA_NAMES)), 255.0),
        ("resnext50", named_as(small("resnext50"), *HARA_NAMES), 255.0),
        ("resnext50", {key: flat(tensor) for key, tensor in named_as(small("resnext50"), *HARA_NAMES).items()}, 1.0),
    ):
        net = small(backbone, modality=modality)
        load_published(net, state)
        assert net.spec.value_range == (0.0, top)
        assert (max(net.spec.std) < 1) == (top == 1)


def flat(tensor: Tensor) -> Tensor:
    """Return a kernel's middle time step, as a network for images has it."""
    return tensor[:, :, tensor.shape[2] // 2] if tensor.ndim == 5 else tensor


def test_known_files_are_of_networks_that_there_are() -> None:
    mine = ("kenshohara_2018", "kenshohara_2020", "kenshohara_r2plus1d", "mars", "ig65m", "vmz_r2plus1d_34")
    for name in (*mine, "torchvision_2d", "torchvision_inflated", "torchvision_video", "torchvision_r2plus1d"):
        files = layout(name).files
        assert files, name
        assert len({file.name for file in files}) == len(files)
        for file in files:
            options = backbone_options(file.backbone, file.backbone_options)
            assert {**options, **file.backbone_options} == options
