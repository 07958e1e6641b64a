"""Where a recognizer looks: the weights of its classification token, clip by clip."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.evaluation.attention import ClipAttention, attend, check_attentive, step_edges
from kinebert.training.models import Recognizer, build_recognizer
from kinebert.training.recipe.train import DataRecipe
from tests.helpers.fake_shards import FakeShards, make_shards

DATA = DataRecipe(shards="", clip_length=6, crop_size=24, eval_scale=1.0)


def recognizer(**options: object) -> Recognizer:
    torch.manual_seed(1)
    config = {"backbone": "resnet18", "head": "bert", "num_layers": 2, "clip_length": 6, "size": 24, "width": 0.25}
    return build_recognizer(num_classes=3, **{**config, **options})  # type: ignore[arg-type]


def look(net: Recognizer, shards: FakeShards, views: str = "single") -> Sequence[ClipAttention]:
    return attend(net, shards, shards.videos[:2], DATA, views=views)  # type: ignore[arg-type]


def test_every_clip_says_where_the_token_looks() -> None:
    shards = make_shards(images=13)
    net = recognizer()
    first, second = look(net, shards)
    assert (first.video_id, first.label, first.indices) == ("v000", "class0", (3, 4, 5, 6, 7, 8))
    assert first.clip.shape == (6, 24, 24, 3)
    assert [layer.name for layer in first.layers] == ["layer 1", "layer 2"]
    for layer in (*first.layers, *second.layers):
        assert layer.weights.shape == (8, 7)
        assert layer.weights.sum(axis=1) == pytest.approx(np.ones(8), abs=1e-5)
        assert layer.mean == pytest.approx(layer.weights.mean(axis=0))
    assert not np.allclose(first.layers[0].weights, second.layers[0].weights), "clips have looks of their own"

    looks: Any = net.head.attention_weights
    with torch.inference_mode():
        mean, std = torch.tensor(net.spec.mean), torch.tensor(net.spec.std)
        x_NCTHW = ((torch.from_numpy(first.clip) / 255 - mean) / std).permute(3, 0, 1, 2)[None]
        logits_K = net(x_NCTHW)[0]
        weights_NASS = looks(net.backbone(x_NCTHW))[1]
    assert first.predicted == shards.classes[int(logits_K.argmax())]
    assert first.probability == pytest.approx(float(logits_K.softmax(dim=0).max()), abs=1e-5)
    assert first.layers[1].weights == pytest.approx(weights_NASS[0, :, 0].numpy(), abs=1e-5)


def test_all_clips_of_a_video_and_no_more_than_fit() -> None:
    shards = make_shards(images=13)
    clips = look(recognizer(), shards, "multi")
    assert [(clip.video_id, len(clip.indices)) for clip in clips] == [("v000", 6)] * 2 + [("v001", 6)] * 2
    assert clips[0].indices[-1] + 1 == clips[1].indices[0]
    with pytest.raises(ConfigError, match="4 clips are too many, 3 is the most: give fewer videos"):
        attend(recognizer(), shards, shards.videos[:2], DATA, views="multi", most=3)


def test_numbers_are_plain_and_complete() -> None:
    shards = make_shards()
    plain = json.loads(json.dumps(look(recognizer(), shards)[0].plain()))
    assert plain["images"] == list(range(6))
    layer = plain["layers"][0]
    assert layer["token"] + sum(layer["steps"]) == pytest.approx(1, abs=1e-5)
    assert len(layer["steps"]) == 6
    assert len(layer["heads"]) == 8
    assert np.mean([head["token"] for head in layer["heads"]]) == pytest.approx(layer["token"], abs=1e-6)


def test_a_head_without_a_token_is_an_error() -> None:
    with pytest.raises(ConfigError, match="the head 'lstm' has no classification token .* a checkpoint with a bert"):
        check_attentive(recognizer(head="lstm"))


def test_steps_share_the_images_of_a_clip() -> None:
    assert step_edges(16, 4) == [0, 4, 8, 12, 16]
    assert step_edges(9, 2) == [0, 4, 9]
    assert step_edges(3, 3) == [0, 1, 2, 3]
