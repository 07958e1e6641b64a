"""A crop is the same pixels however little of its pictures is decoded, from sets of every kind."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.sets.verify import verify_set
from kinebert.preprocessing.tvl1 import TvL1Params
from kinebert.preprocessing.video.images import HALF_TOLERANCE, halved
from kinebert.training.data.dataset import ClipDataset
from kinebert.training.recipe.protocol import ProtocolRecipe
from kinebert.training.recipe.train import AugmentRecipe, DataRecipe
from tests.helpers.sets import make_rows, make_set

LENGTHS = (12, 40, 9)
RECIPE = FrameRecipe(width=171, height=128)
FLOW = FlowRecipe(width=171, height=128, tvl1=TvL1Params(warps=1, outer_iterations=1))  # any flow will do
SETS = {
    "jpeg": RECIPE,
    "restart markers": replace(RECIPE, restart_markers=True),
    "h264": replace(RECIPE, codec="h264"),
    "flow": FLOW,
    "flow, restart markers": replace(FLOW, restart_markers=True),
}


class Whole:
    """A set that can only read all of its pictures."""

    def __init__(self, shards: ShardSet) -> None:
        self.uri, self.modality, self.read_clip = shards.uri, shards.modality, shards.read_clip


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ShardSet]:
    folder = tmp_path_factory.mktemp("sets")
    rows = make_rows(folder / "videos", LENGTHS)
    return {name: make_set(rows, folder / name, recipe) for name, recipe in SETS.items()}


def items(shards: object, videos: object, *, half: bool, training: bool, crops: int = 1) -> list[np.ndarray]:
    data = DataRecipe(shards="-", clip_length=4, crop_size=56 if half else 112, half_size=half)
    protocol = None if training else ProtocolRecipe(crops=crops)  # type: ignore[arg-type]
    dataset = ClipDataset(shards, videos, data, seed=5, training=training, protocol=protocol)  # type: ignore[arg-type]
    keys = [(0, i) for i in range(9)] if training else dataset.test_keys(range(len(LENGTHS)))
    return [np.asarray(dataset[key][0]) for key in keys]


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("training", [True, False])
def test_a_crop_has_the_pixels_of_whole_pictures(sets: dict[str, ShardSet], kind: str, training: bool) -> None:
    shards = sets[kind]
    ours = items(shards, shards.videos, half=False, training=training)
    theirs = items(Whole(shards), shards.videos, half=False, training=training)
    assert len(ours) == (9 if training else len(LENGTHS))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("crop", ["short_side", "resized"])
@pytest.mark.parametrize("kind", ["jpeg", "flow, restart markers"])
def test_every_kind_of_crop_has_the_pixels_of_whole_pictures(sets: dict[str, ShardSet], kind: str, crop: Any) -> None:
    """And what is done to them afterwards is drawn alike."""
    shards = sets[kind]
    sides = (128, 160) if crop == "short_side" else (256, 320)
    erase = AugmentRecipe(erase=0.5)
    data = DataRecipe(shards="-", clip_length=4, crop_size=112, crop=crop, short_side=sides, augment=erase)
    sources: tuple[Any, Any] = (shards, Whole(shards))
    videos: Any = shards.videos
    ours, theirs = (ClipDataset(source, videos, data, seed=5, training=True) for source in sources)
    for i in range(9):
        np.testing.assert_array_equal(np.asarray(ours[(0, i)][0]), np.asarray(theirs[(0, i)][0]))


@pytest.mark.parametrize("kind", SETS)
@pytest.mark.parametrize("crops", [1, 3])
def test_half_the_size_is_within_the_tolerance(sets: dict[str, ShardSet], kind: str, crops: int) -> None:
    """Where the set can only read whole pictures, means over 2x2 pixels are taken; so they are of video."""
    shards = sets[kind]
    ours = items(shards, shards.videos, half=True, training=False, crops=crops)
    theirs = items(Whole(shards), shards.videos, half=True, training=False, crops=crops)
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape[1:3] == (56, 56)
        assert np.abs(one.astype(int) - other).mean() < (1e-9 if kind == "h264" else 2 * HALF_TOLERANCE)
    entry = shards.videos[0]
    small = shards.read_part(entry, [1, 3], None, half=True)
    assert small.shape[1:3] == (64, 86)
    assert np.abs(small.astype(int) - halved(shards.read_clip(entry, [1, 3]))).mean() < 2 * HALF_TOLERANCE


def test_restart_markers_change_bytes_and_no_pixel(sets: dict[str, ShardSet]) -> None:
    """So sets with and without them are of one recipe, and training goes on with either."""
    for plain, marked in (("jpeg", "restart markers"), ("flow", "flow, restart markers")):
        a, b = sets[plain], sets[marked]
        assert a.digest == b.digest
        assert a.content != b.content
        assert a.dataset.counts.bytes < b.dataset.counts.bytes < 1.2 * a.dataset.counts.bytes
        assert verify_set(b.uri).problems == ()
        for entry in a.videos:
            every = range(entry.num_images)
            np.testing.assert_array_equal(a.read_clip(entry, every), b.read_clip(b.entry(entry.video_id), every))
