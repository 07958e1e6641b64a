"""Residual trunks: sizes, shortcuts, reductions, fusion of stages, checkpointing, and what they admit."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models import BACKBONES, Recognizer, build_recognizer
from kinebert.training.models.backbones.frames.resnet import FrameResNet
from kinebert.training.models.blocks import BasicBlock, ResidualTrunk, ZeroPadding
from kinebert.training.models.interfaces import Backbone
from kinebert.training.models.sizes.measure import sizes_of
from kinebert.training.models.sizes.unallocated import unallocated

SMALL = ["resnet18", "resnet50", "resnet3d_18", "resnet3d_50", "resnext50", "r2plus1d_18", "r2plus1d_50"]


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(11)
        yield


def trunk(name: str, channels_in: int = 3, width: float = 0.125, **options: Any) -> ResidualTrunk:
    built = BACKBONES[name].build(channels_in=channels_in, width=width, **options)
    assert isinstance(built, ResidualTrunk)
    return built


@pytest.mark.parametrize(
    ("backbone", "options", "num_parameters", "gmacs"),
    [  # torchvision's documentation: 400 classes of 16 x 112 x 112 for video, 1000 classes of 224 x 224 for images
        ("resnet3d_18", {"family": "torchvision"}, 33_371_472, 40.70),
        ("resnet3d_18", {"family": "torchvision_mc3"}, 11_695_440, 43.34),
        ("r2plus1d_18", {"family": "torchvision"}, 31_505_325, 40.52),
        ("resnet18", {}, 11_689_512, 1.81),
        ("resnet34", {}, 21_797_672, 3.66),
        ("resnet50", {}, 25_557_032, 4.09),
        ("resnet101", {}, 44_549_160, 7.80),
        ("resnet152", {}, 60_192_808, 11.51),
    ],
)
def test_sizes_are_those_that_torchvision_documents(
    backbone: str, options: dict[str, str], num_parameters: int, gmacs: float
) -> None:
    video = bool(options)
    sizes = sizes_of(
        backbone=backbone,
        head="tgap",
        backbone_options=options,
        num_classes=400 if video else 1000,
        clip_length=16 if video else 1,
        size=112 if video else 224,
    )
    assert sizes.parameters == num_parameters
    assert sizes.macs / 1e9 == pytest.approx(gmacs, abs=0.006)


@pytest.mark.parametrize(
    ("depth", "num_blocks", "num_features"),
    [(18, 8, 512), (34, 16, 512), (50, 16, 2048), (101, 33, 2048), (152, 50, 2048), (200, 66, 2048)],
)
def test_depths_are_those_of_the_paper(depth: int, num_blocks: int, num_features: int) -> None:
    with unallocated():
        net = trunk(f"resnet3d_{depth}", width=1.0)
    assert sum(len([*stage.children()]) for stage in net.stages()) == num_blocks
    assert net.num_features == num_features
    layers = [module for module in net.modules() if isinstance(module, nn.Conv3d) and module.kernel_size != (1, 1, 1)]
    per_block = 2 if depth < 50 else 1
    assert len(layers) == 1 + per_block * num_blocks


@pytest.mark.parametrize(
    ("name", "options", "steps", "size"),
    [
        ("resnet3d_18", {}, 2, 4),
        ("resnet3d_50", {"shortcut": "A"}, 2, 4),
        ("resnet3d_18", {"family": "torchvision"}, 3, 7),
        ("resnet3d_18", {"family": "torchvision_mc3"}, 17, 7),
        ("resnext50", {}, 2, 4),
        ("r2plus1d_18", {}, 3, 7),
        ("r2plus1d_18", {"family": "torchvision"}, 3, 7),
        ("r2plus1d_18", {"family": "hara"}, 2, 4),
        ("r2plus1d_50", {}, 2, 4),
        ("resnet50", {}, 17, 4),
    ],
)
def test_every_size_of_a_map_is_rounded_up(name: str, options: dict[str, Any], steps: int, size: int) -> None:
    with unallocated():
        net = trunk(name, **options)
        features_NFTHW = net(torch.empty(2, 3, 17, 112, 100))  # 17 / 16, 17 / 8; 112 / 32, 112 / 16
    assert features_NFTHW.shape == (2, net.num_features, steps, size, size)
    assert net.num_steps(17) == steps


def test_shortcut_a_is_that_of_the_paper() -> None:
    x_NCTHW = torch.randn(2, 3, 5, 6, 7)
    pooled_NCTHW = functional.avg_pool3d(x_NCTHW, 1, 2)
    expected = torch.cat([pooled_NCTHW, torch.zeros(2, 4, *pooled_NCTHW.shape[2:])], dim=1)
    assert torch.equal(ZeroPadding(4, (2, 2, 2))(x_NCTHW), expected)
    block = BasicBlock(3, 7, (3, 3, 3), (2, 2, 2), "A").eval()
    nn.init.zeros_(block.bn2.weight)
    assert torch.equal(block(x_NCTHW), expected.relu())


def test_shortcut_a_has_no_parameters() -> None:
    names = trunk("resnet3d_50", shortcut="A").state_dict()
    assert not [name for name in names if "downsample" in name]
    assert [name for name in trunk("resnet3d_50").state_dict() if "layer1.0.downsample" in name]


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("reduction", ["frab", "frmb"])
def test_reductions_leave_any_width(name: str, reduction: str) -> None:
    net = trunk(name)
    wide, before = net.num_features, set(net.state_dict())
    {"frab": net.reduce_append, "frmb": net.reduce_replace}[reduction](24)
    x_NCTHW = torch.randn(2, 3, 16, 32, 32)
    assert net.train()(x_NCTHW).shape[1] == net.num_features == 24
    (part,) = net.reduced
    block = net.get_submodule(part)
    last = net.stages()[-1]
    assert isinstance(last, nn.Sequential)
    assert (block is last[-1]) == (reduction == "frmb")
    assert {key for key in before - set(net.state_dict()) if not key.startswith(part)} == set()
    first = next(module for module in block.modules() if isinstance(module, nn.Conv2d | nn.Conv3d))
    assert first.in_channels == wide
    net(x_NCTHW).square().sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_reductions_begin_as_published() -> None:
    net = trunk("resnext50", width=1.0)
    net.reduce_append(512)
    assert net.mapper is not None
    shapes = {name: tuple(parameter.shape) for name, parameter in net.mapper.named_parameters() if "conv" in name}
    assert shapes == {
        "conv1.weight": (256, 2048, 1, 1, 1),
        "conv2.weight": (256, 8, 3, 3, 3),  # 32 groups
        "conv3.weight": (512, 256, 1, 1, 1),
    }
    for name, parameter in net.mapper.named_parameters():
        if parameter.ndim == 5:  # by the inputs; by the outputs it would be up to twice as much
            fan_in = parameter[0].numel()
            assert parameter.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.02), name


def test_a_reduction_of_no_width_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"width must be positive, got 0"):
        trunk("resnext50").reduce_append(0)


def test_a_backbone_without_reduction_says_so() -> None:
    class Bare(Backbone):
        """Has none."""

    with pytest.raises(ConfigError, match="the backbone Bare has no feature reduction"):
        Bare().reduce_append(8)


@pytest.mark.parametrize("size", [32, 64, 112, 75])
@pytest.mark.parametrize(("fusion", "num_stages"), [("none", 1), ("dual", 2), ("triple", 3), ("quadruple", 4)])
def test_fusion_joins_the_last_stages(fusion: str, num_stages: int, size: int) -> None:
    net = trunk("resnet18", fusion=fusion).eval()
    assert isinstance(net, FrameResNet)
    maps: list[torch.Tensor] = []
    for stage in net.stages():
        stage.register_forward_hook(lambda _, inputs, output: maps.append(output))
    features_NFTHW = net(torch.randn(2, 3, 3, size, size))
    assert features_NFTHW.shape[1] == net.num_features == sum(map_.shape[1] for map_ in maps[-num_stages:])
    assert features_NFTHW.shape[3:] == maps[-1].shape[2:]
    if size % 32 == 0:  # then every pixel counts as much: the pooled features are those of the stages
        expected = torch.cat([map_.mean(dim=(2, 3)) for map_ in maps[-num_stages:]], dim=1).unflatten(0, (2, 3))
        assert torch.allclose(features_NFTHW.mean(dim=(3, 4)).transpose(1, 2), expected, atol=1e-5)


def test_fused_widths_are_those_of_the_thesis() -> None:
    """Table 3.5: the classifier behind 16 frames of ResNet 18 and 34 sees (128 + 256 + 512) x 16 values."""
    with unallocated():
        for backbone in ("resnet18", "resnet34"):
            assert trunk(backbone, width=1.0, fusion="triple").num_features == 128 + 256 + 512
        assert trunk("resnet50", width=1.0, fusion="quadruple").num_features == 256 + 512 + 1024 + 2048


@pytest.mark.parametrize("reduction", ["frab", "frmb"])
def test_fused_stages_can_be_reduced(reduction: str) -> None:
    net = trunk("resnet50", fusion="dual")
    {"frab": net.reduce_append, "frmb": net.reduce_replace}[reduction](16)
    assert net.num_features == {"frab": 16, "frmb": 128 + 16}[reduction]
    assert net(torch.randn(1, 3, 2, 64, 64)).shape == (1, net.num_features, 2, 2, 2)


def steps(net: Recognizer, x_NCTHW: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the scores in training, and all gradients and statistics after it."""
    logits_NK = net.train()(x_NCTHW)
    logits_NK.square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in net.named_parameters()}
    assert all(gradient is not None for gradient in gradients.values())
    after = {f"gradient of {name}": gradient for name, gradient in gradients.items() if gradient is not None}
    return logits_NK.detach(), {**after, **dict(net.named_buffers())}


@pytest.mark.parametrize("name", SMALL)
def test_checkpointing_changes_nothing_but_memory(name: str) -> None:
    reduction = {"resnet50": "frab", "resnext50": "frmb"}.get(name)
    plain = build_recognizer(
        backbone=name, reduction=reduction, head="tgap", num_classes=3, size=32, width=0.125, dropout=0.0
    )
    saving = copy.deepcopy(plain)
    saving.backbone.checkpointing = True
    x_NCTHW = torch.randn(2, 3, 16, 32, 32)
    (expected, state), (logits, saved_state) = steps(plain, x_NCTHW), steps(saving, x_NCTHW)
    assert torch.equal(logits, expected)
    assert state.keys() == saved_state.keys()
    for key, tensor in state.items():
        assert torch.equal(tensor, saved_state[key]), key


def test_checkpointing_keeps_less() -> None:
    def kept_bytes(checkpointing: bool) -> int:
        net = trunk("resnet3d_18").train()
        net.checkpointing = checkpointing
        seen = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            net(torch.randn(1, 3, 16, 64, 64))
        return sum(seen.values())

    assert kept_bytes(True) < 0.5 * kept_bytes(False)


@pytest.mark.parametrize("name", SMALL)
def test_stacked_flow_is_admitted(name: str) -> None:
    net = trunk(name, channels_in=20)
    net.check_input(20, 16, 32, 32)
    assert net.eval()(torch.randn(1, 20, 16, 32, 32)).shape[1] == net.num_features
    with pytest.raises(ConfigError, match=r"takes clips of 20 channels .* got 3 channels, 16 frames of 48x32"):
        net.check_input(3, 16, 32, 48)
    with pytest.raises(ConfigError, match=r"any length and size above 0, got 20 channels, 0 frames"):
        net.check_input(20, 0, 32, 32)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet3d_18", {"family": "harra"}, r"There is no family of 3D ResNets 'harra'\. Did you mean hara\?"),
        ("resnet3d_18", {"shortcut": "C"}, r"There is no shortcut 'C'\. There are: A, B\."),
        ("resnext101", {"cardinality": 0}, r"cardinality must be positive, got 0"),
        ("r2plus1d_34", {"family": "ig56m"}, r"There is no family of R\(2\+1\)D 'ig56m'\. Did you mean ig65m\?"),
        ("r2plus1d_34", {"momentum": 0.0}, r"momentum must be positive"),
        ("resnet18", {"fusion": "tripple"}, r"There is no fusion of stages 'tripple'\. Did you mean triple\?"),
    ],
)
def test_wrong_options_are_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        trunk(name, **options)


def test_batch_norms_are_those_of_the_family() -> None:
    def norms(**options: Any) -> set[tuple[float, float | None]]:
        net = trunk("r2plus1d_18", **options)
        return {(module.eps, module.momentum) for module in net.modules() if isinstance(module, nn.BatchNorm3d)}

    assert norms() == {(1e-3, 0.1)}
    assert norms(momentum=0.9) == {(1e-3, 0.9)}
    assert norms(family="torchvision") == norms(family="hara") == {(1e-5, 0.1)}
