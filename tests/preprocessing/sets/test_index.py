"""A large index costs little: its columns are looked at, and other processes map them from a file."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinebert.preprocessing.fetching import local_cache
from kinebert.preprocessing.sets import index as index_module
from kinebert.preprocessing.sets import index_file
from kinebert.preprocessing.sets.index import Videos
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.data.dataset import ClipDataset
from kinebert.training.recipe.train import DataRecipe
from tests.helpers.large_index import PER_SHARD, index_table, write_large_index

NUM = 6000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    return ShardSet.open(write_large_index(tmp_path_factory.mktemp("large") / "set", NUM))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(index_file, "user_cache", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def sent_bytes(num_videos: int, folder: Path) -> int:
    """What a loader process of a set of so many videos is sent."""
    shards = ShardSet.open(write_large_index(folder / str(num_videos), num_videos))
    data = DataRecipe(shards=shards.uri)
    return len(pickle.dumps(ClipDataset(shards, shards.select("split1", "train"), data, training=True)))


def test_what_a_loader_is_sent_does_not_grow_with_the_set(tmp_path: Path) -> None:
    assert abs(sent_bytes(2 * NUM, tmp_path) - sent_bytes(4 * NUM, tmp_path)) < 100


def test_opening_looks_at_columns_and_not_at_videos(large: ShardSet, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    entry = index_module.Index.entry

    def counted(self: index_module.Index, row: int) -> index_module.VideoEntry:
        made.append(row)
        return entry(self, row)

    monkeypatch.setattr(index_module.Index, "entry", counted)
    found = ShardSet.open(large.uri)
    chosen = found.select("split1", "train")
    assert (len(found.videos), len(chosen)) == (NUM, NUM * 9 // 10)
    assert chosen.numbers("label").max() == 699
    assert found.entry(chosen[7].video_id) == chosen[7]
    assert len(made) == 3


def test_every_video_is_as_it_was_written(large: ShardSet) -> None:
    rows = index_table(NUM, row_groups=True).to_pylist()
    for i in (0, 1, NUM // 2, NUM - 1):
        entry = large.videos[i]
        row = {**rows[i], "splits": dict(rows[i]["splits"]), "row_group_bytes": tuple(rows[i]["row_group_bytes"])}
        assert {name: getattr(entry, name) for name in row} == row
    part = large.select("split1", "val")
    assert [video.video_id for video in part[:3]] == [rows[i]["video_id"] for i in (9, 19, 29)]
    assert part.ids() == [row["video_id"] for row in rows if dict(row["splits"])["split1"] == "val"]
    assert part[-1] == large.videos[-1]
    np.testing.assert_array_equal(part.numbers("shard"), part.rows // PER_SHARD)


def test_who_gets_it_maps_the_same_file(large: ShardSet, cache: Path) -> None:
    found = ShardSet.open(large.uri)
    sent: ShardSet = pickle.loads(pickle.dumps(found))
    again: ShardSet = pickle.loads(pickle.dumps(ShardSet.open(large.uri)))
    (file,) = [path for path in (cache / "indexes").iterdir() if path.name != ".lock"]
    for one in (found, sent, again):
        assert one.videos[NUM - 1] == large.videos[NUM - 1]
    assert str(file) in Path("/proc/self/maps").read_text()
    assert sent.dataset == large.dataset


def lose(file: Path) -> None:
    file.unlink()


def damage(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.unlink()
    file.write_bytes(data)


def test_a_file_that_is_gone_is_read_from_the_set(large: ShardSet, cache: Path) -> None:
    data = pickle.dumps(ShardSet.open(large.uri))
    for path in (cache / "indexes").iterdir():
        path.unlink()
    sent: ShardSet = pickle.loads(data)
    assert sent.videos[3] == large.videos[3]


@pytest.mark.parametrize("harm", [lose, damage])
def test_a_file_that_changed_is_made_again(large: ShardSet, cache: Path, harm: Callable[[Path], None]) -> None:
    pickle.dumps(ShardSet.open(large.uri))
    (file,) = [path for path in (cache / "indexes").iterdir() if path.name != ".lock"]
    before = file.read_bytes()
    harm(file)
    pickle.dumps(ShardSet.open(large.uri))
    assert file.read_bytes() == before


@pytest.mark.parametrize("problem", ["no folder", "network"])
def test_without_a_place_for_a_file_the_columns_are_sent(
    large: ShardSet, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if problem == "network":
        monkeypatch.setattr(index_file, "is_on_this_machine", lambda path: False)
    else:
        monkeypatch.setattr(local_cache, "make_private", lambda folder: False)
    data = pickle.dumps(ShardSet.open(large.uri))
    assert len(data) > 100 * NUM
    sent: Any = pickle.loads(data)
    assert sent.videos == large.videos


def test_parts_equal_lists_of_the_same_videos(large: ShardSet) -> None:
    part = large.select("split1", "val")
    assert part == list(part)
    assert part != list(part)[1:]
    assert part != large.videos
    assert isinstance(part, Videos)
