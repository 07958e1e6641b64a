"""Stacked flow from the set to the network: which fields, in which order, mirrored and resized as single ones are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.checkpoints.recognizer import load_recognizer
from kinebert.training.data.batches import collate
from kinebert.training.data.dataset import ClipDataset
from kinebert.training.data.parts import check_videos
from kinebert.training.data.shared_memory import clip_bytes
from kinebert.training.data.transforms import to_device_batch
from kinebert.training.evaluation.attention import attend
from kinebert.training.evaluation.evaluate import evaluate
from kinebert.training.loop.memory import training_memory
from kinebert.training.models.inputs import FLOW, InputSpec
from kinebert.training.recipe.train import DataRecipe, ProtocolRecipe
from tests.helpers.fake_shards import FakeShards, FakeVideo, make_shards
from tests.helpers.loaded_clips import pixels
from tests.helpers.small_training import recipe_with, run

CPU = torch.device("cpu")
DATA = DataRecipe(shards="/fake/set", clip_length=2, frame_interval=2, crop_size=4, flow_stack=3, eval_scale=1.0)


class Counted(FakeShards):
    """Field i of a video is i to the right and 100 + i down, everywhere; notes what is read."""

    def read_clip(self, entry: FakeVideo, indices: Any) -> np.ndarray:
        self.recipe["read"] = list(indices)
        field_K = np.asarray(indices)
        assert field_K.max() < entry.num_images
        return np.broadcast_to(np.stack([field_K, 100 + field_K], -1)[:, None, None], (len(indices), 4, 6, 2)).astype(
            np.uint8
        )


def counted(num_images: int, **splits: str) -> Counted:
    return Counted([FakeVideo("v", 0, num_images, {"split1": "val"})], ["a", "b"], "flow")


@pytest.mark.parametrize(
    ("num_images", "expected", "read"),
    [
        (8, [[1, 101, 2, 102, 3, 103], [3, 103, 4, 104, 5, 105]], [1, 2, 3, 4, 5]),  # places 0 to 5: 1 and 3
        (5, [[0, 100, 1, 101, 2, 102], [2, 102, 3, 103, 4, 104]], [0, 1, 2, 3, 4]),
        (4, [[0, 100, 1, 101, 2, 102], [0, 100, 1, 101, 2, 102]], [0, 1, 2]),  # places 0 and 1: 0, and 2 is 0 again
        (2, [[0, 100, 1, 101, 1, 101], [0, 100, 1, 101, 1, 101]], [0, 1]),
    ],
)
def test_channels_are_x_and_y_of_one_field_after_the_other(
    num_images: int, expected: list[list[int]], read: list[int]
) -> None:
    shards = counted(num_images)
    clip_THWC = pixels(ClipDataset(shards, shards.videos, DATA), (0, 0))
    assert clip_THWC.shape == (2, 4, 4, 6)
    np.testing.assert_array_equal(clip_THWC[:, 1, 2], expected)
    assert (clip_THWC == clip_THWC[:, :1, :1]).all()
    assert shards.recipe["read"] == read  # a field that two stacks share is read once


@pytest.mark.parametrize("resize_on", ["loader", "device"])
def test_every_x_of_a_mirrored_stack_is_negated_and_no_y(resize_on: Any) -> None:
    shards = counted(8)
    items = ClipDataset(shards, shards.videos, replace(DATA, resize_on=resize_on), protocol=ProtocolRecipe(crops=10))
    normalization = FLOW.stacked(3)
    spec = InputSpec(
        modality="flow", num_frames=2, crop_size=4, mean=normalization.mean, std=normalization.std, flow_stack=3
    )
    x_NCTHW = to_device_batch(collate([items[0, 0], items[0, 5]]).clips, spec, CPU)
    codes_NCT = ((x_NCTHW * 0.226 + 0.5) * 255).mean(dim=(3, 4)).round().int()
    plain, mirrored = ([[1, 101, 2, 102, 3, 103], [3, 103, 4, 104, 5, 105]] for _ in range(2))
    mirrored = [[255 - v if i % 2 == 0 else v for i, v in enumerate(step)] for step in mirrored]
    assert codes_NCT.transpose(1, 2).tolist() == [plain, mirrored]


def test_random_stacks_reach_every_place_and_stay_inside() -> None:
    shards = counted(7)
    shards.videos = [replace(shards.videos[0], splits={"split1": "train"})]
    items = ClipDataset(shards, shards.videos, replace(DATA, flip=False), training=True)
    firsts = {tuple(pixels(items, (epoch, 0))[:, 0, 0, 0].tolist()) for epoch in range(60)}
    assert firsts == {(0, 2), (1, 3), (2, 4)}  # 5 places, and steps 2 apart


def test_short_videos_are_told_of() -> None:
    shards = counted(2)
    _, notes = check_videos(shards, DATA, "val")
    assert any("1 of 1 videos have fewer than the 5 images of a clip and continue" in note for note in notes)
    assert any("1 of 1 videos have fewer than the 3 fields of a stack and repeat their last one" in n for n in notes)


def test_memory_is_reckoned_for_all_fields() -> None:
    shards = counted(8)
    assert clip_bytes(shards, shards.videos, DATA) == 2 * 3 * 2 * 4 * 4
    one, ten = (recipe_with(data={"flow_stack": stack}) for stack in (1, 10))
    assert training_memory(ten, "flow", 3, CPU).total > training_memory(one, "flow", 3, CPU).total


def test_only_flow_is_stacked_and_the_recipe_says_so_at_once() -> None:
    with pytest.raises(
        ConfigError, match=r"data\.flow_stack is 10, but only flow is stacked, and data\.modality is rgb"
    ):
        DataRecipe(shards="", modality="rgb", flow_stack=10)
    with pytest.raises(ConfigError, match=r"data\.flow_stack must be at least 1, got 0"):
        DataRecipe(shards="", flow_stack=0)
    assert recipe_with(data={"flow_stack": 1}).digest() == recipe_with().digest()
    assert recipe_with(data={"flow_stack": 10}).digest() != recipe_with().digest()


def test_a_network_of_stacks_trains_is_evaluated_and_shows_its_attention(tmp_path: Path) -> None:
    shards = make_shards(modality="flow", images=4, num_classes=2)
    shards.recipe["bound"] = 20.0
    recipe = recipe_with(data={"flow_stack": 3, "sampling": "sections"}, epochs=3)
    run(recipe, tmp_path / "run", shards)
    net, info = load_recognizer(str(tmp_path / "run" / "best.pt"))
    assert (net.spec.flow_stack, len(net.spec.mean), net.config["flow_stack"]) == (3, 6, 3)
    assert info.extra["train"]["data"]["flow_stack"] == 3
    scores = evaluate(net, shards, recipe.data, part="val", protocol=ProtocolRecipe(crops=3))
    accuracy = float((scores.scores.argmax(axis=1) == scores.labels).mean())
    assert accuracy > 0.8
    (found,) = attend(net, shards, shards.select("split1", "val")[:1], recipe.data)
    assert found.clip.shape == (4, 16, 16, 6)
    assert len(found.indices) == 4
