"""What every recognizer promises: one suite over every backbone with every modality, and every head and reduction."""

import io
import itertools
import json
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from kinebert.preprocessing.checked.values import from_mapping
from kinebert.preprocessing.config import to_plain
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.modalities import MODALITIES, streams_of
from kinebert.training.models import BACKBONES, HEADS, InputSpec, Recognizer, build_recognizer
from kinebert.training.models.operations import frame_selection
from kinebert.training.models.registry import REDUCTIONS, backbone_options
from kinebert.training.models.sizes.unallocated import shapes_only, unallocated
from tests.helpers.networks import (
    NUM_CLASSES,
    Combination,
    admits,
    backbones_by_modality,
    clips,
    heads_by_reduction,
    one_of_each_family,
    reductions,
    several_streams,
    smallest_clip,
)

ALL = [*dict.fromkeys([*backbones_by_modality(), *heads_by_reduction(), *several_streams()])]


EVERY = 6
"""One in so many heads with reductions is in the fast run; the others take minutes."""
FAST = {*heads_by_reduction()[::EVERY]}
"""And one network of each family, the modalities in turn."""
for modality, backbone in zip(itertools.cycle(sorted(MODALITIES)), one_of_each_family(), strict=False):
    FAST |= {next(one for one in ALL if (one.backbone, one.modality) == (backbone, modality))}
FAST |= {*several_streams()[:3]}
EACH = [
    pytest.param(name, marks=() if name in one_of_each_family() else pytest.mark.slow) for name in sorted(BACKBONES)
]


@pytest.fixture(
    scope="module",
    params=[combination.param(*([] if combination in FAST else [pytest.mark.slow])) for combination in ALL],
)
def net(request: pytest.FixtureRequest) -> Recognizer:
    torch.manual_seed(7)
    combination: Combination = request.param
    return combination.build()


def test_scores_have_one_column_per_class(net: Recognizer) -> None:
    with torch.inference_mode():
        logits_NK = net.eval()(clips(net, 3))
    assert logits_NK.shape == (3, NUM_CLASSES)
    assert logits_NK.dtype == torch.float32
    assert logits_NK.isfinite().all()
    assert logits_NK.std(dim=0).min() > 0, "other clips have other scores"


def test_clips_of_a_batch_do_not_meet_in_eval(net: Recognizer) -> None:
    x_NCTHW = clips(net, 2)
    with torch.inference_mode():
        logits_NK = net.eval()(x_NCTHW)
        alone_NK = torch.cat([net(clip[None]) for clip in x_NCTHW])
        assert torch.equal(net(x_NCTHW), logits_NK), "eval draws nothing"
    assert (logits_NK - alone_NK).abs().max() < 1e-4 * logits_NK.std()


def test_gradients_reach_every_parameter(net: Recognizer) -> None:
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with torch.no_grad():  # what starts at zero (the last norm of a non-local block) hides what lies before it
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    net.train()(clips(net, 4)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if not name.endswith("attention.key.bias"):  # softmax is blind to a shift of all scores, so this one is 0
            assert parameter.grad.abs().max() > 0, name
    net.zero_grad()
    net.load_state_dict(state)


def test_saved_and_loaded_it_is_the_same(net: Recognizer) -> None:
    file = io.BytesIO()
    torch.save({"config": net.config, "weights": net.state_dict()}, file)
    content = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    again = build_recognizer(**json.loads(json.dumps(content["config"])))
    assert again.config == net.config
    assert again.spec == net.spec
    again.load_state_dict(content["weights"], strict=True)
    x_NCTHW = clips(net)
    with torch.inference_mode():
        assert torch.equal(again.eval()(x_NCTHW), net.eval()(x_NCTHW))


def test_bf16_is_near_float32(net: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    def first_frames(x_NCTHW: torch.Tensor, **_: bool) -> torch.Tensor:
        return torch.arange(x_NCTHW.shape[2] // 2).expand(len(x_NCTHW), -1)

    monkeypatch.setattr(frame_selection, "chosen_frames", first_frames)  # of frames as good, rounding may choose others
    x_NCTHW = clips(net, 4)
    with torch.inference_mode():
        exact_NK = net.eval()(x_NCTHW)
        with torch.autocast("cpu", torch.bfloat16):
            rounded_NK = net(x_NCTHW)
    assert rounded_NK.isfinite().all()
    assert (rounded_NK.float() - exact_NK).abs().max() < 0.3 * exact_NK.abs().max()


def test_training_draws_anew(net: Recognizer) -> None:
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    x_NCTHW = clips(net)
    with torch.no_grad():
        assert not torch.equal(net.train()(x_NCTHW), net(x_NCTHW)), "dropout draws anew"
    net.load_state_dict(state)


def test_backbone_says_what_it_leaves(net: Recognizer) -> None:
    net.eval()
    backbone, length = net.backbone, net.spec.num_frames
    assert backbone.num_features % 8 == 0
    with torch.inference_mode():
        for frames in (1, length - 1, length):
            try:
                backbone.check_input(len(net.spec.mean), frames, net.spec.crop_size, net.spec.crop_size)
            except ConfigError:
                continue
            x_NCTHW = clips(net, 1, frames)
            assert backbone(x_NCTHW).shape[:3] == (1, backbone.num_features, backbone.num_steps(frames))
        paths = backbone.paths(clips(net, 1))
    assert tuple(path.shape[1] for path in paths) == backbone.path_features
    assert tuple(path.shape[2] for path in paths) == backbone.path_steps(length)


def test_spec_is_complete_and_plain(net: Recognizer) -> None:
    spec = net.spec
    assert len(spec.mean) == len(spec.std) == sum(modality.channels for modality in streams_of(spec.modality))
    assert spec.value_range[0] <= min(spec.mean) <= max(spec.mean) <= spec.value_range[1]
    assert from_mapping(InputSpec, json.loads(json.dumps(to_plain(spec))), "spec") == spec
    net.config["head"] = "other"
    assert net.config["head"] in HEADS, "the configuration cannot be changed from outside"
    assert replace(net.spec) == net.spec


@pytest.mark.parametrize("backbone", EACH)
def test_reductions_narrow_every_backbone(backbone: str) -> None:
    frames, pixels = smallest_clip(backbone)
    with unallocated():
        nets = {
            kind: build_recognizer(
                backbone=backbone, reduction=kind, head="tgap", num_classes=2, clip_length=frames, size=pixels
            )
            for kind in reductions(backbone)
        }
    for kind in REDUCTIONS.keys() - nets.keys():
        with unallocated(), pytest.raises(ConfigError, match="reduc"):
            build_recognizer(
                backbone=backbone, reduction=kind, head="tgap", num_classes=2, clip_length=frames, size=pixels
            )
    if len(nets) == 1:
        return
    size = {kind: sum(p.numel() for p in net.backbone.parameters()) for kind, net in nets.items()}
    assert size["frab"] > size[None], "a block more"
    assert {kind for kind, net in nets.items() if net.backbone.reduced} == set(REDUCTIONS)
    for kind in REDUCTIONS:
        trunk = nets[kind].backbone
        assert 512 in (trunk.path_features[0], trunk.num_features), "the slow pathway's, or all together"
        for name in trunk.reduced:
            trunk.get_submodule(name)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet3d_18", "r2plus1d_18", "i3d", "slowfast_50"])
def test_checkpointing_changes_memory_only(backbone: str) -> None:
    combination = Combination(backbone, "tgap")
    nets = [combination.build(checkpointing=checkpointing, dropout=0.0) for checkpointing in (False, True)]
    nets[1].load_state_dict(nets[0].state_dict())
    x_NCTHW = clips(nets[0])
    kept = []
    for net in nets:
        saved = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal saved
            saved += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            loss = net.train()(x_NCTHW).square().sum()
        kept.append(saved)
        loss.backward()
    assert kept[1] < 0.5 * kept[0]
    grads = [{name: parameter.grad for name, parameter in net.named_parameters()} for net in nets]
    torch.testing.assert_close(grads[1], grads[0])  # it names the one that differs
    for (name, plain), other in zip(nets[0].named_buffers(), nets[1].buffers(), strict=True):
        assert torch.equal(plain, other), f"{name}: statistics move once"


@pytest.mark.parametrize("backbone", EACH)
def test_stacked_flow_has_two_channels_for_each_field(backbone: str) -> None:
    with unallocated(), shapes_only():
        net = Combination(backbone, "tgap", "flow").build(flow_stack=5)
        pixels = net.spec.crop_size
        assert net(torch.empty(2, 10, net.spec.num_frames, pixels, pixels)).shape == (2, NUM_CLASSES)
    assert len(net.spec.mean) == len(net.spec.std) == 10


@pytest.mark.parametrize("backbone", EACH)
def test_full_width_takes_the_papers_input(backbone: str) -> None:
    with unallocated(), shapes_only():
        trunk = BACKBONES[backbone].build(channels_in=3)
        frames, pixels = next(clip for clip in itertools.product((64, 32, 16, 8), (224, 112)) if admits(trunk, *clip))
        net = build_recognizer(backbone=backbone, head="bert", num_classes=51, clip_length=frames, size=pixels)
        assert net(torch.empty(2, 3, frames, pixels, pixels)).shape == (2, 51)


@pytest.mark.parametrize("backbone", EACH)
def test_options_have_plain_defaults(backbone: str) -> None:
    options = backbone_options(backbone, {})
    assert json.loads(json.dumps(options)) == options


@pytest.mark.parametrize("backbone", ["i3d", "resnet18"])
def test_the_seed_decides_the_weights(backbone: str) -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([p.flatten() for p in Combination(backbone, "bert").build().parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_every_head_sees_order_but_those_that_average() -> None:
    blind = []
    for head in sorted(HEADS):
        combination = Combination("resnet18", head)
        try:
            net = combination.build().eval()
        except ConfigError:
            continue  # needs pathways
        x_NCTHW = clips(net, 2) + torch.linspace(-1, 1, net.spec.num_frames)[:, None, None]
        with torch.inference_mode():
            ahead, back = net(x_NCTHW), net(x_NCTHW.flip(2))
        if (ahead - back).abs().max() < 1e-4 * ahead.std():
            blind.append(head)
    assert blind == ["none", "nonlocal_tgap", "tgap"]


def test_pairs_of_parts_are_all_met() -> None:
    assert {combination.backbone for combination in ALL} == set(BACKBONES)
    assert {combination.head for combination in ALL} == set(HEADS)
    met = {(combination.backbone, combination.modality) for combination in ALL}
    assert met >= {(backbone, modality) for backbone in BACKBONES for modality in MODALITIES}
    met_heads = {(combination.head, combination.reduction) for combination in ALL}
    assert met_heads >= {(head, kind) for head in HEADS for kind in (None, *REDUCTIONS)}
    assert all(first != second for first, second in pairwise(ALL))
