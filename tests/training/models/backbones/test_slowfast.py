"""SlowFast: which frames its pathways see, its sizes and reductions, and BERT on two pathways."""

from typing import Any

import pytest
import torch
from torch import Tensor

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.models import Recognizer, build_recognizer
from kinebert.training.models.backbones.pathways.slowfast import PICKINGS, SlowFast, slowfast_50
from kinebert.training.models.heads.bert import BertPool
from kinebert.training.models.heads.bert_paths import BertEarly, BertLate
from kinebert.training.models.pathways import at_steps, fuse
from kinebert.training.models.sizes.unallocated import unallocated


def trunk(**options: Any) -> SlowFast:
    return slowfast_50(width=0.125, **options).eval()


def clip(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def network(head: str, **changes: Any) -> Recognizer:
    config = {"num_classes": 3, "clip_length": 32, "size": 32, "width": 0.125, "dropout": 0.0}
    return build_recognizer(backbone="slowfast_50", head=head, **{**config, **changes})


def test_frames_of_the_slow_pathway() -> None:
    def picked(picking: str, frames: int, alpha: int) -> list[int]:
        x_NCTHW = torch.arange(frames, dtype=torch.float32)[None, None, :, None, None]
        return [int(value) for value in PICKINGS[picking](x_NCTHW, alpha).flatten()]

    assert picked("stride", 32, 4) == picked("auto", 32, 4) == [0, 4, 8, 12, 16, 20, 24, 28]
    assert picked("linspace", 32, 4) == [0, 4, 8, 13, 17, 22, 26, 31]
    assert picked("linspace", 32, 8) == [0, 10, 20, 31]


@pytest.mark.parametrize(
    ("clip_length", "options", "steps"),
    [
        (64, {}, (8, 32)),
        (32, {}, (8, 32)),
        (16, {}, (4, 16)),
        (9, {}, (3, 9)),
        (1, {}, (1, 1)),
        (64, {"alpha": 8, "fusion_kernel": 5}, (4, 32)),
        (64, {"fast_frames": 64}, (16, 64)),
        (32, {"picking": "linspace"}, (8, 32)),
    ],
)
def test_steps_of_the_pathways(clip_length: int, options: dict[str, Any], steps: tuple[int, int]) -> None:
    net, x_NCTHW = trunk(**options), clip(1, 3, clip_length, 32, 32)
    slow, fast = net.paths(x_NCTHW)
    assert net.path_steps(clip_length) == (slow.shape[2], fast.shape[2]) == steps
    assert (slow.shape[1], fast.shape[1]) == net.path_features == (256, 32)
    assert net(x_NCTHW).shape == (1, 288, steps[0], 1, 1)
    assert net.num_steps(clip_length) == steps[0]


def test_a_clip_of_64_frames_is_every_second_and_every_eighth() -> None:
    net, x_NCTHW = trunk(), clip(1, 3, 64, 32, 32)
    others = x_NCTHW.clone()
    others[:, :, 1::2] = 9
    assert torch.equal(net(x_NCTHW), net(others))
    assert torch.equal(net(x_NCTHW), net(x_NCTHW[:, :, ::2]))


@pytest.mark.parametrize(
    ("head", "reduction", "options", "num_parameters"),
    [
        ("tgap", None, {}, 33_762_043),
        ("tgap", None, {"alpha": 8, "fusion_kernel": 5}, 33_675_771),
        ("bert_late", "frab", {}, 42_038_155 - 922_000),
        ("bert_early", "frab", {}, 43_174_283 - 922_000),
    ],
)
def test_size_is_the_published_one(
    head: str, reduction: str | None, options: dict[str, Any], num_parameters: int
) -> None:
    """33.76, 33.68 (4x16), 42.04 and 43.17 million with 51 classes; BERT's with an unused layer of 0.922 million."""
    with unallocated():
        net = network(
            head, reduction=reduction, num_classes=51, clip_length=64, size=224, width=1.0, backbone_options=options
        )
    assert sum(p.numel() for p in net.parameters()) == num_parameters


def test_beta_and_fusion_ratio_are_channels() -> None:
    net = trunk(beta=4, fusion_ratio=3)
    assert net.path_features == (256, 64)
    slow, fast = net.slow["res2"], net.fast["res2"]
    assert slow[0].conv1.in_channels == 8 + 3 * 2  # type: ignore[index]
    assert fast[0].conv1.in_channels == 2  # type: ignore[index]
    assert net(clip(1, 3, 16, 32, 32)).shape == (1, 320, 4, 1, 1)


@pytest.mark.parametrize("reduce", ["reduce_append", "reduce_replace"])
def test_reductions_of_one_pathway_and_of_both(reduce: str) -> None:
    def left(**options: Any) -> tuple[tuple[int, ...], tuple[str, ...], torch.Size]:
        net = trunk(**options)
        getattr(net, reduce)(64)
        return net.path_features, net.reduced, net(clip(1, 3, 16, 32, 32)).shape

    names = {"reduce_append": "mapper.{}", "reduce_replace": "{}.res5.2"}[reduce]
    slow, fast = names.format("slow"), names.format("fast")
    assert left() == ((64, 16), (slow, fast), (1, 80, 4, 1, 1))
    assert left(reduced_paths="slow") == ((64, 32), (slow,), (1, 96, 4, 1, 1))


def test_what_is_reduced_follows_from_the_head() -> None:
    assert network("bert_late", reduction="frab").backbone.path_features == (64, 32)
    assert network("bert_early", reduction="frab").backbone.path_features == (64, 16)
    both = network("bert_late", reduction="frab", backbone_options={"reduced_paths": "both"})
    assert both.backbone.path_features == (64, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"picking": "random"}, r"There is no picking 'random'"),
        ({"fusion_kernel": 4}, r"fusion_kernel must be odd, got 4"),
        ({"alpha": 0}, r"alpha must be positive, got 0"),
        ({"beta": 3}, r"beta must divide the 8 channels of the slow stem, got 3"),
        ({"reduced_paths": "fast"}, r"There is no choice of reduced_paths 'fast'"),
        ({"fast_frames": 0}, r"fast_frames must be positive, got 0"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        trunk(**options)


def test_linspace_takes_multiples_of_alpha_and_says_so() -> None:
    options = {"picking": "linspace"}
    with pytest.raises(ConfigError, match=r"clip of 30 frames gives the fast pathway 30; .* multiple of alpha, 4"):
        network("tgap", clip_length=30, backbone_options=options)
    net = network("tgap", backbone_options=options)
    with pytest.raises(ConfigError, match=r"clip of 30 frames"):
        net(clip(1, 3, 30, 32, 32))


def test_pathways_meet_at_the_steps_of_the_first() -> None:
    slow, fast = clip(2, 3, 2, 1, 1), clip(2, 4, 6, 1, 1)
    fused = fuse((slow, fast))
    assert torch.equal(fused[:, :3], slow)
    assert torch.allclose(fused[:, 3:, 0], fast[:, :, :3].mean(dim=2))
    uneven = at_steps(torch.arange(5.0)[None, None, :, None, None], 2).flatten()
    assert uneven.tolist() == [1, 3], "0 to 2, and 2 to 4"


def test_early_fusion_is_bert_on_the_fused_map() -> None:
    paths = (clip(2, 24, 4, 2, 2), clip(2, 8, 8, 2, 2))
    head = BertEarly((24, 8), (4, 8), {}).eval()
    assert (head.num_features, head.num_steps) == (32, (4, 8))
    assert torch.allclose(head(paths), head.bert(fuse(paths)), atol=1e-5)
    assert [w.shape for w in head.attention_weights(paths)] == [(2, 8, 5, 5)]


def test_late_fusion_is_one_bert_per_pathway() -> None:
    paths = (clip(2, 24, 4, 2, 2), clip(2, 8, 8, 2, 2))
    head = BertLate((24, 8), (4, 8), {"num_layers": 2}).eval()
    assert isinstance(head.slow, BertPool)
    assert torch.equal(head(paths), torch.cat([head.slow(paths[0]), head.fast(paths[1])], dim=1))
    weights = dict(zip(head.attention_names, head.attention_weights(paths), strict=True))
    assert {name: tuple(w.shape) for name, w in weights.items()} == {
        "slow pathway, layer 1": (2, 8, 5, 5),
        "slow pathway, layer 2": (2, 8, 5, 5),
        "fast pathway, layer 1": (2, 8, 9, 9),
        "fast pathway, layer 2": (2, 8, 9, 9),
    }


def test_heads_of_pathways_have_the_options_of_bert() -> None:
    net = network("bert_late", num_layers=2, keep_prob=1.0)
    assert {name: net.config[name] for name in ("num_layers", "keep_prob", "init")} == {
        "num_layers": 2,
        "keep_prob": 1.0,
        "init": "bert5",
    }
    with pytest.raises(ConfigError, match=r"'bert_late' has no option 'num_layer'\. Did you mean num_layers"):
        network("bert_late", num_layer=2)
    with pytest.raises(ConfigError, match=r"'bert_early' takes several pathways, and the backbone 'i3d' has one"):
        build_recognizer(backbone="i3d", head="bert_early", num_classes=2, width=0.125, size=32)
    with pytest.raises(ConfigError, match=r"clip of 16 frames, which are \(4, 16\) time steps .* are \(8, 32\)"):
        net.eval()(clip(1, 3, 16, 32, 32))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_checkpointing_and_memory_layout_change_nothing(memory_format: torch.memory_format) -> None:
    nets = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        nets.append(network("tgap", reduction="frab", clip_length=16, checkpointing=checkpointing).train())
    plain = nets[0].double()
    checkpointed = nets[1].double().to(memory_format=memory_format)  # type: ignore[call-overload]
    x_NCTHW = clip(2, 3, 16, 32, 32).double()
    plain(x_NCTHW).square().sum().backward()
    checkpointed(x_NCTHW.to(memory_format=memory_format)).square().sum().backward()
    for (name, ours), other in zip(checkpointed.named_parameters(), plain.parameters(), strict=True):
        assert ours.grad is not None, name
        assert torch.allclose(ours.grad, other.grad, atol=1e-8), name  # type: ignore[arg-type]


@pytest.mark.parametrize("backbone", ["i3d", "slowfast_50"])
def test_an_empty_clip_is_refused(backbone: str) -> None:
    net = build_recognizer(backbone=backbone, head="tgap", num_classes=2, width=0.125, size=32)
    with pytest.raises(ConfigError, match=r"takes clips of any length and size above 0, got 0 frames of 32x32"):
        net(torch.zeros(1, 3, 0, 32, 32))
