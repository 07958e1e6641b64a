"""Aligned sets: the channels of each are what it gives alone, and sets that do not belong together are refused."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe, PoseRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.tvl1 import TvL1Params
from kinebert.training.aligned import AlignedShards, open_shards, sets_of
from kinebert.training.checkpoints.state import about
from kinebert.training.data.batches import collate
from kinebert.training.data.dataset import ClipDataset
from kinebert.training.data.parts import check_videos
from kinebert.training.data.shared_memory import clip_bytes
from kinebert.training.data.transforms import to_device_batch
from kinebert.training.data.windows import TOLERANCE
from kinebert.training.models.inputs import BYTE_FLOW, CAFFE, InputSpec, Normalization, joined_spec
from kinebert.training.recipe.train import AugmentRecipe, DataRecipe, ProtocolRecipe
from kinebert.training.shards import Ids, numbers_of, shards_of
from tests.helpers.loaded_clips import pixels
from tests.helpers.sets import make_rows, make_set

CPU = torch.device("cpu")
LENGTHS = (12, 40, 9, 17)
RGB = FrameRecipe(width=86, height=64)
FLOW = FlowRecipe(width=86, height=64, tvl1=TvL1Params(warps=1, outer_iterations=1))  # any flow will do
POSE = PoseRecipe(width=86, height=64)
DATA = DataRecipe(shards="-", beside=("-",), clip_length=4, crop_size=32)
COLOURS = AugmentRecipe(brightness=0.4, hue=0.1)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[ManifestRow]:
    return make_rows(tmp_path_factory.mktemp("videos"), LENGTHS)


@pytest.fixture(scope="module")
def sets(rows: list[ManifestRow], tmp_path_factory: pytest.TempPathFactory) -> dict[str, ShardSet]:
    folder = tmp_path_factory.mktemp("sets")
    recipes = {"rgb": RGB, "flow": FLOW, "pose": POSE}
    # shards of other sizes: a video lies elsewhere in each set
    return {name: make_set(rows, folder / name, recipe, i + 1) for i, (name, recipe) in enumerate(recipes.items())}


def alone(sets: dict[str, ShardSet], name: str, data: DataRecipe, **options: Any) -> ClipDataset:
    """The data set of one stream, whose videos have as many images as the aligned ones."""
    least = {video.video_id: video.num_images for video in sets["flow"].videos}
    videos = [replace(video, num_images=least[video.video_id]) for video in sets[name].videos]
    return ClipDataset(sets[name], videos, replace(data, beside=()), **options)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"crop": "resized", "half_size": True},
        {"sampling": "sections", "crop": "short_side", "short_side": (40, 64), "order": "random"},
        {"augment": AugmentRecipe(erase=0.5, erase_with="mean")},
    ],
)
@pytest.mark.parametrize("names", [("rgb", "flow"), ("flow", "pose", "rgb")])
def test_the_channels_of_each_stream_are_what_it_gives_alone(
    sets: dict[str, ShardSet], names: tuple[str, ...], changes: dict[str, Any]
) -> None:
    data = replace(DATA, beside=("-",) * (len(names) - 1), **changes)
    shards = AlignedShards([sets[name] for name in names])
    assert shards.modality == "+".join(names)
    together = ClipDataset(shards, shards.videos, data, seed=3, training=True)
    streams = [alone(sets, name, data, seed=3, training=True) for name in names]
    for epoch in range(4):
        for position in range(len(LENGTHS)):
            clip, label, index = together[epoch, position]
            others = [stream[epoch, position] for stream in streams]
            assert {(label, index)} == {other[1:] for other in others}
            np.testing.assert_array_equal(clip, np.concatenate([np.asarray(other[0]) for other in others], axis=-1))


def test_test_views_are_those_of_each_stream(sets: dict[str, ShardSet]) -> None:
    shards, protocol = AlignedShards([sets["rgb"], sets["flow"]]), ProtocolRecipe(clips="multi", crops=10)
    together = ClipDataset(shards, shards.videos, DATA, protocol=protocol)
    streams = [alone(sets, name, DATA, protocol=protocol) for name in ("rgb", "flow")]
    keys = together.test_keys(range(len(LENGTHS)))
    assert keys == streams[1].test_keys(range(len(LENGTHS)))
    for key in keys[::7]:
        clip_THWC = pixels(together, key)
        assert clip_THWC.shape == (4, 32, 32, 5)
        np.testing.assert_array_equal(clip_THWC, np.concatenate([pixels(one, key) for one in streams], axis=-1))


class Plain:
    """One video whose image i is i, 10 + i, 20 + i (red, green, blue), and 30 + i, 40 + i (x and y)."""

    uri, modality, rejected = "plain", "rgb+flow", ()
    classes = ("a", "b")

    def read_clip(self, entry: Any, indices: Any) -> np.ndarray:
        values = np.asarray(indices)[:, None] + np.arange(0, 50, 10)
        return np.broadcast_to(values[:, None, None], (len(values), 6, 8, 5)).astype(np.uint8)


class Entry:
    video_id, label, num_images = "v", 1, 6


@pytest.mark.parametrize("resize_on", ["loader", "device"])
def test_mirroring_negates_x_of_flow_and_nothing_else_by_hand(resize_on: Any) -> None:
    data = replace(DATA, resize_on=resize_on, clip_length=2, crop_size=4, eval_scale=1.0)
    items = ClipDataset(Plain(), [Entry()], data, protocol=ProtocolRecipe(crops=10))  # type: ignore[arg-type, list-item]
    raw = Normalization(mean=(0.0,) * 3, std=(1.0,) * 3, value_range=(0.0, 255.0))
    specs = [
        InputSpec(modality=name, num_frames=2, crop_size=4, mean=mean, std=(1.0,) * len(mean), value_range=(0.0, 255.0))
        for name, mean in (("rgb", raw.mean), ("flow", (0.0, 0.0)))
    ]
    x_NCTHW = to_device_batch(collate([items[0, 0], items[0, 5]]).clips, joined_spec("rgb+flow", specs), CPU)
    codes = x_NCTHW.mean(dim=(3, 4)).transpose(1, 2).round().int().tolist()
    assert codes[0] == [[2, 12, 22, 32, 42], [3, 13, 23, 33, 43]]
    assert codes[1] == [[2, 12, 22, 255 - 32, 42], [3, 13, 23, 255 - 33, 43]]


def test_windows_of_several_streams_are_resized_on_the_device(sets: dict[str, ShardSet]) -> None:
    shards = AlignedShards([sets["rgb"], sets["flow"]])
    ours = ClipDataset(shards, shards.videos, replace(DATA, resize_on="device"), seed=3, training=True)
    theirs = ClipDataset(shards, shards.videos, DATA, seed=3, training=True)
    spec = InputSpec(modality="rgb+flow", num_frames=4, crop_size=32, mean=(0.0,) * 5, std=(1 / 255,) * 5)
    keys = [(epoch, position) for epoch in range(3) for position in range(len(LENGTHS))]
    batches = [to_device_batch(collate([items[key] for key in keys]).clips, spec, CPU) for items in (ours, theirs)]
    assert float((batches[0] - batches[1]).abs().max()) <= TOLERANCE + 1e-3  # of float32
    assert clip_bytes(shards, shards.videos, DATA) == 4 * 5 * 32 * 32
    assert clip_bytes(shards, shards.videos, replace(DATA, resize_on="device")) == 4 * 5 * 64 * 64


def test_every_stream_is_normalised_as_it_is_alone() -> None:
    clips = torch.randint(0, 256, (2, 3, 4, 4, 5), dtype=torch.uint8)
    specs = [
        InputSpec(
            modality=name,
            num_frames=3,
            crop_size=4,
            mean=of.mean,
            std=of.std,
            value_range=of.value_range,
            channel_order=of.channel_order,
        )
        for name, of in (("rgb", CAFFE), ("flow", BYTE_FLOW))
    ]
    joined = to_device_batch(clips, joined_spec("rgb+flow", specs), CPU)
    assert torch.equal(joined[:, :3], to_device_batch(clips[..., :3], specs[0], CPU))
    assert torch.equal(joined[:, 3:], to_device_batch(clips[..., 3:], specs[1], CPU))
    with pytest.raises(ConfigError, match="see other clips: num_frames is 3 and 5"):
        joined_spec("rgb+flow", [specs[0], replace(specs[1], num_frames=5)])


def test_colours_of_photographs_change_and_flow_stays(sets: dict[str, ShardSet]) -> None:
    shards = AlignedShards([sets["flow"], sets["rgb"]])
    plain, coloured = (
        ClipDataset(shards, shards.videos, replace(DATA, augment=augment), seed=3, training=True)
        for augment in (AugmentRecipe(), COLOURS)
    )
    rgb = alone(sets, "rgb", replace(DATA, augment=COLOURS), seed=3, training=True)
    for i in range(4):
        ours, before = pixels(coloured, (0, i)), pixels(plain, (0, i))
        np.testing.assert_array_equal(ours[..., :2], before[..., :2])
        np.testing.assert_array_equal(ours[..., 2:], pixels(rgb, (0, i)))
        assert (ours[..., 2:] != before[..., 2:]).any()
    DataRecipe(shards="-", beside=("-",), modality="rgb+flow", augment=COLOURS)
    for modality, augment, words in (
        ("rgb+flow", AugmentRecipe(randaugment=2), "randaugment turns and moves"),
        ("flow+pose", COLOURS, "measurements or drawings"),
    ):
        with pytest.raises(ConfigError, match=words):
            DataRecipe(shards="-", beside=("-",), modality=modality, augment=augment)


def test_one_rectangle_is_erased_in_all_streams(sets: dict[str, ShardSet]) -> None:
    shards = AlignedShards([sets["rgb"], sets["flow"]])
    plain, erased = (
        ClipDataset(shards, shards.videos, replace(DATA, augment=augment), seed=3, training=True)
        for augment in (AugmentRecipe(), AugmentRecipe(erase=1.0))
    )
    for i in range(4):
        changed = (pixels(plain, (0, i)) != pixels(erased, (0, i))).any(axis=0)
        boxes = [np.argwhere(changed[..., own].any(axis=-1)) for own in (slice(3), slice(3, 5))]
        corners = [(box.min(axis=0).tolist(), box.max(axis=0).tolist()) for box in boxes]
        assert corners[0] == corners[1], "random values are hardly those that were there along a whole edge"


def test_a_set_of_sets_is_opened_sent_and_told_of(sets: dict[str, ShardSet]) -> None:
    shards = open_shards(sets["rgb"].uri, [sets["flow"].uri])
    assert isinstance(shards, AlignedShards)
    assert [one.uri for one in sets_of(shards)] == [sets["rgb"].uri, sets["flow"].uri]
    assert isinstance(alone_ := open_shards(sets["rgb"].uri), ShardSet)
    assert sets_of(alone_) == (alone_,)
    sent = pickle.loads(pickle.dumps(shards))
    videos = sent.select("split1", "train")
    assert videos.ids() == list(Ids(videos)) == sets["rgb"].select("split1", "train").ids()  # type: ignore[attr-defined]
    ids = shards.videos.ids()
    assert ids == [video.video_id for video in shards.videos] == sorted(ids)
    assert numbers_of(shards.videos, "num_images").tolist() == [video.num_images for video in sets["flow"].videos]
    assert shards.videos[1:3][0].num_images == sets["flow"].videos[1].num_images
    assert numbers_of(shards.videos, "num_frames").tolist() == [video.num_frames for video in sets["rgb"].videos]
    assert len(set(shards_of(shards.videos).tolist())) == 4
    entry = sent.entry(ids[0])
    np.testing.assert_array_equal(
        sent.read_clip(entry, [2, 1, 1])[..., 3:], sets["flow"].read_clip(sets["flow"].entry(ids[0]), [2, 1, 1])
    )
    told = about(shards)
    assert told["modality"] == "rgb+flow"
    other = about(AlignedShards([sets["rgb"], sets["pose"]]))
    assert len({told["digest"], other["digest"], sets["rgb"].digest}) == 3
    assert len({told["content"], other["content"], sets["rgb"].content}) == 3
    assert shards.recipe["flow"] == sets["flow"].recipe
    assert shards.flow_bound == 20


def test_videos_that_one_set_rejected_are_left_out_and_counted(
    rows: list[ManifestRow], sets: dict[str, ShardSet], tmp_path: Path
) -> None:
    short = make_set(rows, tmp_path / "flow", replace(FLOW, min_frames=10))
    shards = AlignedShards([sets["rgb"], short])
    assert len(shards.videos) == 3
    lost = [video.video_id for video in shards.rejected]
    assert len(lost) == 1
    assert lost[0] not in shards.videos.ids()
    videos, notes = check_videos(shards, DATA, "train")
    assert len(videos) == 2
    assert any("1 videos were rejected in extraction and are not in the set" in note for note in notes)
    with pytest.raises(UserError, match="was left out"):
        shards.entry(lost[0])


def refusal(rows: list[ManifestRow], first: ShardSet, folder: Path, recipe: FrameRecipe) -> str:
    with pytest.raises(UserError) as caught:
        AlignedShards([first, make_set(rows, folder, recipe)])
    return str(caught.value)


def test_sets_that_do_not_belong_together_are_refused(
    rows: list[ManifestRow], sets: dict[str, ShardSet], tmp_path: Path
) -> None:
    first = sets["rgb"]
    assert "frame_step is 1 and 2" in refusal(rows, first, tmp_path / "step", replace(FLOW, frame_step=2))
    told = refusal(rows, first, tmp_path / "size", replace(POSE, width=96))
    assert "the width of class0/v00 is 86 in one and 96 in the other (so of 4 videos" in told
    assert "1 videos that" in refusal(rows[:3], first, tmp_path / "fewer", POSE)
    moved = [replace(rows[0], splits={"split1": "val"}), *rows[1:]]
    told = refusal(moved, first, tmp_path / "splits", POSE)
    assert "the splits of class0/v00 is {'split1': 'train'} in one and {'split1': 'val'} in the other" in told
    renamed = [replace(row, label=1 - row.label, label_name=f"class{1 - row.label}") for row in rows]
    assert "the label of class0/v00 is 0 in one and 1 in the other" in refusal(
        renamed, first, tmp_path / "labels", POSE
    )
    swapped = [replace(rows[0], path=rows[1].path), *rows[1:]]
    assert "the num_frames of class0/v00 is 12" in refusal(swapped, first, tmp_path / "frames", POSE)
    called = [replace(row, label_name=f"no {row.label_name}") for row in rows]
    assert "other classes" in refusal(called, first, tmp_path / "classes", POSE)
    with pytest.raises(ConfigError, match="has rgb twice"):
        AlignedShards([first, first])


def test_recipes_say_which_sets_lie_beside_each_other() -> None:
    data = DataRecipe(shards="a", beside=("b", "c"), modality="rgb+flow+pose")
    assert data.places()[1][1].endswith("/c")
    assert data.places("d", ("e",))[0].endswith("/d")
    for changes, words in (
        ({"modality": "rgb+flow"}, "which takes 2 sets: data.shards, and 1 in data.beside, which has 0"),
        ({"modality": "rgb", "beside": ("b",)}, "which takes 1 sets"),
        ({"modality": "rgb+flow", "beside": ("b",), "flow_stack": 5}, "beside other pictures is not stacked"),
        ({"beside": ("b",), "flow_stack": 5}, "beside other pictures is not stacked"),
        ({"modality": "rgb+flo"}, "flo"),
        ({"modality": "flow+flow"}, "has flow twice"),
    ):
        with pytest.raises(ConfigError, match=words):
            DataRecipe(shards="a", **changes)  # type: ignore[arg-type]
