"""I3D: its padding, its sizes, its reductions, and how its scores are read out."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models import Recognizer, build_recognizer
from kinebert.training.models.backbones.clips.i3d import I3d, SameConv3d, SamePool3d
from kinebert.training.models.heads.average import tgap
from kinebert.training.models.inception import Branches, reduced
from kinebert.training.models.sizes.unallocated import unallocated
from tests.helpers.published_paths import same


def clip(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [1, 2, 5, 6, 7, 8])
@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (3, 1), (1, 1)])
def test_convolutions_pad_as_tensorflow_does(kernel: int, stride: int, size: int) -> None:
    conv = SameConv3d(2, 3, kernel, stride)
    x_NCTHW = clip(1, 2, size, size + 1, size + 2)
    padded = same(x_NCTHW, (kernel,) * 3, (stride,) * 3)
    assert torch.allclose(conv(x_NCTHW), functional.conv3d(padded, conv.weight, stride=stride), atol=1e-6)
    assert conv(x_NCTHW).shape[2:] == tuple(-(-(size + i) // stride) for i in range(3))


@pytest.mark.parametrize("size", [1, 2, 5, 6, 7, 8])
@pytest.mark.parametrize(
    ("kernel", "stride"), [((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2)), ((3,) * 3, (1,) * 3)]
)
def test_pools_of_what_relu_leaves_pad_as_tensorflow_does(
    kernel: tuple[int, int, int], stride: tuple[int, int, int], size: int
) -> None:
    x_NCTHW = clip(1, 2, size, size + 1, size + 2) - 0.5
    x_NCTHW = x_NCTHW.relu()
    padded = same(x_NCTHW, kernel, stride)
    assert torch.equal(SamePool3d(kernel, stride)(x_NCTHW), functional.max_pool3d(padded, kernel, stride))


@pytest.mark.parametrize(
    ("modality", "head", "reduction", "num_parameters"),
    [
        ("rgb", "tgap", None, 12_339_539),
        ("rgb", "bert", "frab", 16_396_355),
        ("rgb", "bert", None, 24_946_003),
        ("rgb", "bert", "frmb", 13_539_427),
        ("flow", "tgap", None, 12_317_587),
        ("flow", "bert", "frab", 16_374_403),
        ("flow", "bert", None, 24_924_051),
    ],
)
def test_size_is_the_published_one(modality: str, head: str, reduction: str | None, num_parameters: int) -> None:
    """Of the BERT papers' I3D with 51 classes: 12.34, 16.40, 24.95, 13.54, 12.32, 16.37 and 24.92 million."""
    with unallocated():
        net = build_recognizer(
            backbone="i3d", head=head, reduction=reduction, modality=modality, num_classes=51, clip_length=64, size=224
        )
    assert sum(p.numel() for p in net.parameters()) == num_parameters


def test_bert_on_i3d_is_the_one_that_was_published_for_it() -> None:
    def options(**given: object) -> tuple[object, object]:
        net = build_recognizer(head="bert", num_classes=2, width=0.125, size=32, **given)  # type: ignore[arg-type]
        return net.config["init"], net.config["normalize_tokens"]

    assert options(backbone="i3d") == ("bert2", True)
    assert options(backbone="i3d", normalize_tokens=False) == ("bert2", False)
    assert options(backbone="slowfast_50") == ("bert5", False)


def test_reduction_is_the_published_block_at_every_width() -> None:
    assert reduced(512) == Branches(192, 96, 192, 24, 64, 64)
    for width in (8, 64, 120, 256, 512, 1024):
        assert reduced(width).total == width
        assert min(reduced(width)) > 0
    for width in (0, 4, 100):
        with pytest.raises(ConfigError, match=f"reduced to a positive multiple of 8, got {width}"):
            I3d(width=0.125).reduce_append(width)


def test_reductions_keep_what_was_there() -> None:
    torch.manual_seed(0)
    net = I3d(width=0.125).eval()
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    last = net.mixed5c
    net.reduce_append(64)
    assert (net.num_features, net.reduced) == (64, ("mapper",))
    assert all(torch.equal(net.state_dict()[key], tensor) for key, tensor in before.items())
    assert net(clip(1, 3, 16, 32, 32)).shape == (1, 64, 2, 1, 1)

    net = I3d(width=0.125)
    net.reduce_replace(64)
    assert (net.num_features, net.reduced) == (64, ("mixed5c",))
    assert net.mixed5c is not last
    assert net.mixed5c.channels_in == last.channels_in
    assert list(net.state_dict()) == list(before)


def network(checkpointing: bool) -> Recognizer:
    torch.manual_seed(0)
    return build_recognizer(
        backbone="i3d", reduction="frab", head="tgap", num_classes=3, width=0.125, size=32, checkpointing=checkpointing,
        dropout=0.0,
    )  # fmt: skip


def test_checkpointing_changes_nothing() -> None:
    plain, checkpointed = network(False).train(), network(True).train()
    for net in (plain, checkpointed):
        net(clip(2, 3, 16, 32, 32)).square().sum().backward()
    for (name, ours), other in zip(checkpointed.named_parameters(), plain.parameters(), strict=True):
        assert ours.grad is not None, name
        assert torch.allclose(ours.grad, other.grad, atol=1e-6), name  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(checkpointed.buffers(), plain.buffers(), strict=True))


def test_windows_read_out_as_the_published_scores_for_kinetics() -> None:
    """Published: average pool of (2, 7, 7), a classifier at each of the steps that are left, mean of its scores."""
    features_NFTHW, classifier = clip(2, 6, 8, 7, 7), torch.nn.Linear(6, 4)
    windows_NFT = functional.avg_pool3d(features_NFTHW, (2, 7, 7), stride=1).flatten(2)
    theirs_NK = classifier(windows_NFT.transpose(1, 2)).mean(dim=1)
    assert torch.allclose(classifier(tgap(6, 8, window=2)(features_NFTHW)), theirs_NK, atol=1e-6)
    assert not torch.allclose(classifier(tgap(6, 8)(features_NFTHW)), theirs_NK, atol=1e-4)
    two = features_NFTHW[:, :, :2]
    assert torch.allclose(tgap(6, 2, window=2)(two), tgap(6, 2)(two), atol=1e-6)
    with pytest.raises(ConfigError, match="1 time steps are less than the window, 2"):
        tgap(6, 8, window=2)(features_NFTHW[:, :, :1])
