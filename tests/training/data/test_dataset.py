"""Items are functions of their keys, in whichever process they are made."""

import numpy as np
import pytest
import torch

from kinebert.preprocessing.errors import UserError
from kinebert.training.clips.ordering import epoch_order
from kinebert.training.data.batches import Batch, TrainBatches, in_batches
from kinebert.training.data.dataset import ClipDataset
from kinebert.training.data.loader import ClipLoader
from kinebert.training.data.parts import check_videos
from kinebert.training.recipe.train import DataRecipe
from tests.helpers.fake_shards import FakeRejected, FakeShards, FakeVideo, make_shards
from tests.helpers.loaded_clips import pixels, tensors

DATA = DataRecipe(shards="/fake/set", clip_length=4, crop_size=16)
CPU = torch.device("cpu")


def dataset(shards: FakeShards | None = None, seed: int = 0) -> ClipDataset:
    shards = shards or make_shards()
    return ClipDataset(shards, shards.select("split1", "train"), DATA, seed=seed, training=True)


def test_an_item_is_a_function_of_seed_epoch_and_position() -> None:
    first, second = dataset(), dataset()
    second[(7, 3)]
    for key in [(0, 0), (1, 5), (0, 23)]:
        np.testing.assert_array_equal(pixels(first, key), pixels(second, key))
        assert first[key][1:] == second[key][1:]
    assert not np.array_equal(pixels(first, (0, 0)), pixels(first, (1, 0)))
    assert [first[(2, p)][2] for p in range(24)] == epoch_order(24, 0, 2).tolist()
    assert [dataset(seed=1)[(2, p)][2] for p in range(24)] != epoch_order(24, 0, 2).tolist()


def test_a_set_smaller_than_a_batch_is_repeated_with_other_clips() -> None:
    items = dataset(make_shards(num_train=3))
    assert items[(0, 0)][2] == items[(0, 3)][2]
    assert not np.array_equal(pixels(items, (0, 0)), pixels(items, (0, 3)))


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_share_the_global_batches(num_workers: int) -> None:
    dealt = [list(TrainBatches(21, 8, 2, rank, num_workers, epochs=3, start=(1, 1))) for rank in range(num_workers)]
    steps: dict[tuple[int, int], set[int]] = {}
    for worker in dealt:
        for keys in worker:
            for epoch, position in keys:
                steps.setdefault((epoch, position // 8), set()).add(position)
    assert steps == {(1, 1): set(range(8, 16)), (2, 0): set(range(8)), (2, 1): set(range(8, 16))}


def test_a_loader_process_makes_the_same_batches() -> None:
    batches = [[(0, 1), (0, 2)], [(1, 5), (1, 6)]]
    here = list(ClipLoader(dataset(), batches, 0, CPU))
    there = list(ClipLoader(dataset(), batches, 1, CPU))
    assert isinstance(here[0], Batch)
    clips_NTHWC = tensors(here[0])[0]
    assert clips_NTHWC.dtype == torch.uint8
    assert clips_NTHWC.shape == (2, 4, 16, 16, 3)
    for a, b in zip(here, there, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(tensors(a), tensors(b), strict=True))


def test_test_clips_are_fixed_and_each_video_comes_once() -> None:
    shards = make_shards()
    items = ClipDataset(shards, shards.select("split1", "val"), DATA)
    keys = items.test_keys(range(9))
    assert keys == [(i, 0) for i in range(9)]
    assert [len(part) for part in in_batches(keys, 4)] == [4, 4, 1]
    np.testing.assert_array_equal(pixels(items, (3, 0)), pixels(items, (3, 0)))


def test_flow_is_negated_where_it_is_mirrored() -> None:
    """A field that moves to the right everywhere: unmirrored clips keep it, mirrored ones have it to the left."""

    class Right(FakeShards):
        def read_clip(self, entry: FakeVideo, indices: object) -> np.ndarray:
            return np.full((4, 24, 32, 2), 200, np.uint8)

    shards = Right(make_shards().videos, ["a", "b", "c"], "flow")
    clips = [pixels(dataset(shards), (0, position)) for position in range(24)]
    assert {int(clip[..., 0].min()) for clip in clips} == {200, 55}
    assert {int(clip[..., 1].min()) for clip in clips} == {200}
    assert all(clip[..., 0].min() == clip[..., 0].max() for clip in clips)


class Damaged(FakeShards):  # at the top level, so that another process can unpickle it
    def read_clip(self, entry: FakeVideo, indices: object) -> np.ndarray:
        raise ValueError("12 bytes that are not a JPEG picture")


@pytest.mark.parametrize("loader_workers", [0, 1])
def test_a_damaged_shard_is_named_in_one_line(loader_workers: int) -> None:
    items = dataset(Damaged(make_shards().videos, ["a", "b", "c"]))
    with pytest.raises(UserError) as caught:
        list(ClipLoader(items, [[(0, 0)]], loader_workers, CPU))
    name = make_shards().videos[epoch_order(24, 0, 0)[0]].video_id
    assert str(caught.value).startswith(f"/fake/set: video {name}: images ")
    assert str(caught.value).count("12 bytes that are not a JPEG picture") == 1
    assert len(str(caught.value).splitlines()) == 1


def test_what_is_unusual_is_said() -> None:
    shards = make_shards(num_train=3, num_classes=4, images=3)
    shards.rejected = [FakeRejected("x", "broken", {"split1": "train"})]
    _, notes = check_videos(shards, DATA, "train")
    assert len(notes) == 3
    assert "1 of 4 classes have no video: class3" in notes[0]
    assert "1 of 3 videos have fewer than the 4 images" in notes[1]
    assert "1 video" in notes[2]
