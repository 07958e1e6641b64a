"""What every recognizer promises: one suite over every backbone, head and modality."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from preprocessing.config import from_mapping, to_plain
from training.models import BACKBONES, CHANNELS, HEADS, InputSpec, Recognizer, build_recognizer

NUM_CLASSES, CLIP_LENGTH, SIZE = 5, 16, 32
COMBINATIONS = list(itertools.product(sorted(BACKBONES), sorted(HEADS), sorted(CHANNELS)))


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        yield


@pytest.fixture(params=COMBINATIONS, ids=lambda combination: "-".join(combination))
def net(request: pytest.FixtureRequest) -> Recognizer:
    backbone, head, modality = request.param
    return build_recognizer(
        backbone=backbone,
        head=head,
        modality=modality,
        num_classes=NUM_CLASSES,
        clip_length=CLIP_LENGTH,
        size=SIZE,
        width=0.125,
        dropout=0.5,
    )


def clips(net: Recognizer, count: int = 2, length: int = CLIP_LENGTH) -> torch.Tensor:
    return torch.randn(count, len(net.spec.mean), length, SIZE, SIZE)


def test_scores_have_one_column_per_class(net: Recognizer) -> None:
    logits_NK = net.eval()(clips(net, 3))
    assert logits_NK.shape == (3, NUM_CLASSES)
    assert logits_NK.dtype == torch.float32
    assert logits_NK.isfinite().all()
    assert logits_NK.std(dim=0).min() > 0, "other clips have other scores"


def test_backbone_says_what_it_leaves(net: Recognizer) -> None:
    net.eval()
    for length in (1, 7, 8, 9, CLIP_LENGTH):
        features = net.backbone(clips(net, 1, length))
        assert features.shape[:3] == (1, net.backbone.num_features, net.backbone.num_steps(length))
    assert net.backbone.num_features % 8 == 0


def test_spec_is_complete_and_plain(net: Recognizer) -> None:
    spec = net.spec
    assert (spec.num_frames, spec.frame_interval, spec.crop_size) == (CLIP_LENGTH, 1, SIZE)
    assert len(spec.mean) == len(spec.std) == CHANNELS[spec.modality]
    assert spec.value_range == (0.0, 1.0)
    assert from_mapping(InputSpec, json.loads(json.dumps(to_plain(spec))), "spec") == spec


def test_gradients_reach_every_parameter(net: Recognizer) -> None:
    net.train()(clips(net, 4)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if not name.endswith("attention.key.bias"):  # softmax is blind to a shift of all scores, so this one is 0
            assert parameter.grad.abs().max() > 0, name


def test_eval_is_deterministic_and_training_is_not(net: Recognizer) -> None:
    x = clips(net)
    net.eval()
    assert torch.equal(net(x), net(x))
    net.train()
    assert not torch.equal(net(x), net(x)), "dropout draws anew"


def test_clips_of_a_batch_do_not_meet_in_eval(net: Recognizer) -> None:
    x = clips(net, 3)
    logits_NK = net.eval()(x)
    alone_NK = torch.cat([net(clip[None]) for clip in x])
    assert (logits_NK - alone_NK).abs().max() < 1e-4 * logits_NK.std()  # measured 2e-6


def test_config_rebuilds_the_network(net: Recognizer) -> None:
    plain = json.loads(json.dumps(net.config))
    again = build_recognizer(**plain)
    assert again.config == net.config
    assert again.spec == net.spec
    again.load_state_dict(net.state_dict(), strict=True)
    x = clips(net)
    assert torch.equal(again.eval()(x), net.eval()(x))


def test_the_seed_decides_the_weights(net: Recognizer) -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([p.flatten() for p in build_recognizer(**net.config).parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_config_cannot_be_changed_from_outside(net: Recognizer) -> None:
    net.config["head"] = "other"
    assert net.config["head"] in HEADS
    assert replace(net.spec) == net.spec
