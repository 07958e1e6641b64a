"""Sets are read wherever they lie, no more of them than is asked for, and what is wrong with them is named."""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.fetching.row_groups import OtherLayoutError
from kinebert.preprocessing.fetching.sources import Sources
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.schema import INDEX
from kinebert.preprocessing.sets import shard_files
from kinebert.preprocessing.sets.reader import ShardSet
from tests.helpers.sets import make_rows, make_set

LENGTHS = [6, 70, 6, 6, 6, 6]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """Six videos in six shards."""
    folder = tmp_path_factory.mktemp("reader")
    rows = make_rows(folder / "videos", LENGTHS)
    return make_set(rows, folder / "set", FrameRecipe(width=48, height=32), videos_per_shard=1)


@pytest.fixture
def copy(made: ShardSet, tmp_path: Path) -> Path:
    shutil.copytree(made.uri, tmp_path / "set")
    return tmp_path / "set"


def test_a_set_on_an_object_store_is_the_same(made: ShardSet, tmp_path: Path) -> None:
    uri = f"mock:///{tmp_path.name}/set"
    storage.make_folder(uri)
    fs, path = storage.open_filesystem(uri)
    pafs.copy_files(made.uri, path, source_filesystem=pafs.LocalFileSystem(), destination_filesystem=fs)
    found = ShardSet.open(uri)
    assert found.videos == made.videos
    assert found.content == made.content
    for entry in made.videos:
        np.testing.assert_array_equal(found.read_clip(entry, [0, 5, 2]), made.read_clip(entry, [0, 5, 2]))


def of_earlier_versions(folder: Path) -> ShardSet:
    """The set as it was before an index said where row groups lie, and ``dataset.json`` what its bytes are."""
    edit_index(folder, lambda table: table.select(INDEX.names))
    plain = json.loads((folder / "dataset.json").read_text())
    del plain["index"]
    (folder / "dataset.json").write_text(json.dumps(plain))
    return ShardSet.open(str(folder))


def test_a_set_of_an_earlier_version_is_the_same(made: ShardSet, copy: Path) -> None:
    found = of_earlier_versions(copy)
    assert found.content == made.content
    assert found.entry("class1/v01").first_byte is None
    for entry, before in zip(made.videos, found.videos, strict=True):
        np.testing.assert_array_equal(found.read_clip(before, [5, 0]), made.read_clip(entry, [5, 0]))


def test_neighbours_are_one_read_and_nothing_else_is_read(made: ShardSet, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    read = Sources.read

    def watched(self: Sources, uri: str, file_bytes: int, start: int, num_bytes: int) -> pa.Buffer:
        asked.append((start, num_bytes))
        return read(self, uri, file_bytes, start, num_bytes)

    monkeypatch.setattr(Sources, "read", watched)
    monkeypatch.setattr(pq, "ParquetFile", None)  # no footer is looked at
    entry = made.entry("class1/v01")
    assert (entry.num_images, entry.num_row_groups, entry.first_byte) == (70, 3, 4)
    first, second, third = entry.row_group_bytes
    made.read_clip(entry, range(40, 56))
    assert asked == [(4 + first, second)]
    made.read_clip(entry, [63, 64, 63, 69, 31])
    assert asked[1:] == [(4, first + second + third)]
    made.read_clip(entry, [0, 64])
    assert sorted(asked[2:]) == [(4, first), (4 + first + second, third)]


@pytest.mark.parametrize(
    "wrong",
    [{"first_byte": 5}, {"first_byte": -(2**40)}, {"row_group_bytes": (2**31 - 1,) * 3}, {"row_group_bytes": ()}],
)
def test_ranges_that_are_wrong_cost_time_and_no_picture(made: ShardSet, wrong: dict[str, Any]) -> None:
    entry = made.entry("class1/v01")
    np.testing.assert_array_equal(made.read_clip(replace(entry, **wrong), [0, 69]), made.read_clip(entry, [0, 69]))


def test_ranges_of_another_video_give_no_picture_of_it(made: ShardSet) -> None:
    """Its segments have checksums that are right."""
    ours, other = made.entry("class1/v01"), made.entry("class0/v02")
    mixed = replace(ours, shard=other.shard, num_images=6, num_row_groups=1, row_group_bytes=other.row_group_bytes)
    with pytest.raises(OtherLayoutError, match="of another segment"):
        list(made._files._by_ranges(mixed, 0, 1))


def test_only_the_row_groups_of_a_clip_are_read(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a set of an earlier version, whose footers tell where they lie."""
    made = of_earlier_versions(copy)
    asked: list[int] = []
    read = pq.ParquetFile.read_row_group

    def watched(self: pq.ParquetFile, i: int, columns: list[str]) -> object:
        assert columns == ["frames"]
        asked.append(i)
        return read(self, i, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", watched)
    entry = made.entry("class1/v01")
    assert (entry.num_images, entry.num_row_groups) == (70, 3)
    made.read_clip(entry, range(40, 56))
    assert asked == [1]
    made.read_clip(entry, [63, 64, 63, 69])
    assert asked == [1, 1, 2]


def test_images_come_in_the_order_that_is_asked_for(made: ShardSet) -> None:
    entry = made.entry("class1/v01")
    whole = made.read_clip(entry, range(70))
    indices = [69, 0, 33, 33, 31, 32]
    np.testing.assert_array_equal(made.read_clip(entry, indices), whole[indices])
    assert made.read_clip(entry, indices).shape == (6, 32, 48, 3)
    for outside in (-1, 70):
        with pytest.raises(IndexError, match=f"class1/v01: image {outside} of 70"):
            made.read_clip(entry, [0, outside])


@pytest.mark.parametrize(("files", "row_groups"), [(2, 2000), (64, 2)])
def test_few_footers_stay_open(copy: Path, files: int, row_groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_files, "_OPEN_SHARDS", files)
    monkeypatch.setattr(shard_files, "_OPEN_ROW_GROUPS", row_groups)
    found = of_earlier_versions(copy)
    for _ in range(2):
        for entry in found.videos:
            found.read_clip(entry, [0])
            assert len(found._files._files) <= 2
    found.read_clip(found.videos[-2], [0])
    assert set(found._files._files) == {entry.shard for entry in found.videos[-2:]}, "the last used stay"


def test_it_may_be_sent_to_another_process(made: ShardSet) -> None:
    made.read_clip(made.videos[0], [0])
    sent: ShardSet = pickle.loads(pickle.dumps(made))
    assert len(sent._files._files) == 0
    assert sent.videos == made.videos
    np.testing.assert_array_equal(sent.read_clip(sent.videos[0], [3]), made.read_clip(made.videos[0], [3]))


def test_whoever_is_not_there_is_named_with_some_who_are(made: ShardSet) -> None:
    with pytest.raises(UserError, match=r"no video 'x'\. There are 6, such as class0/v00, class0/v02, class0/v04"):
        made.entry("x")


def test_a_split_or_part_that_is_not_there_is_named(made: ShardSet) -> None:
    assert [video.video_id for video in made.select("split1", "val")] == ["class0/v04", "class1/v05"]
    with pytest.raises(ConfigError, match=r"there is no split 'split2'\. There are: split1"):
        made.select("split2", "train")
    with pytest.raises(ConfigError, match=r"split 'split1' has no 'test' videos\. It has: train, val"):
        made.select("split1", "test")


def without_checksums(shard: Path) -> None:
    """Write a shard anew as earlier versions did."""
    file = pq.ParquetFile(shard, memory_map=False)
    groups = [file.read_row_group(i) for i in range(file.num_row_groups)]
    footer = {key: value for key, value in file.metadata.metadata.items() if key.startswith(b"kinebert.")}
    with pq.ParquetWriter(shard, file.schema_arrow, compression="none", use_dictionary=False) as writer:
        for group in groups:
            writer.write_table(group)
        writer.add_key_value_metadata(footer)


def test_a_bit_that_flipped_is_noticed_though_its_picture_decodes(copy: Path) -> None:
    found = ShardSet.open(str(copy))
    entry = found.entry("class0/v00")
    shard = copy / entry.shard
    data = bytearray(shard.read_bytes())
    (jpeg,) = found.read_jpegs(entry, [2])[0]
    found = ShardSet.open(str(copy))
    shard.unlink()
    data[data.index(jpeg.to_pybytes()) + len(jpeg) * 3 // 4] ^= 1
    shard.write_bytes(data)
    with pytest.raises(UserError, match=rf"{entry.shard}: class0/v00: segment 0 cannot be read: .*checksum") as said:
        found.read_clip(entry, [2])
    assert "\n" not in str(said.value)


def test_a_damaged_image_is_named_with_its_shard_and_video(copy: Path) -> None:
    """In a set of an earlier version, which has no checksums, the others of the segment are read."""
    found = ShardSet.open(str(copy))
    entry = found.entry("class0/v00")
    shard = copy / entry.shard
    without_checksums(shard)
    data = shard.read_bytes()
    (jpeg,) = found.read_jpegs(entry, [2])[0]
    found = ShardSet.open(str(copy))
    shard.unlink()
    shard.write_bytes(data.replace(jpeg.to_pybytes(), b"\0" * len(jpeg)))
    with pytest.raises(ValueError, match=rf"{entry.shard}: class0/v00: \d+ bytes that are not a JPEG picture"):
        found.read_clip(entry, [0, 2])
    assert found.read_clip(entry, [0, 1]).shape == (2, 32, 48, 3)


def test_a_shard_that_cannot_be_read_points_to_verify(copy: Path) -> None:
    found = ShardSet.open(str(copy))
    (copy / found.videos[0].shard).write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"not a readable shard: .*`kinebert verify` tells more"):
        found.read_clip(found.videos[0], [0])
    (copy / found.videos[1].shard).unlink()
    with pytest.raises(UserError, match="not a readable shard"):
        found.read_clip(found.videos[1], [0])


def test_what_is_no_finished_set_is_refused(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a finished shard set \(with a dataset\.json\), found nothing"):
        ShardSet.open(str(tmp_path / "absent"))
    (tmp_path / "videos").mkdir()
    with pytest.raises(UserError, match="found a folder that is no set: give the one that an extraction has made"):
        ShardSet.open(str(tmp_path / "videos"))
    (copy / "index.parquet").write_bytes(b"rubbish")
    with pytest.raises(UserError, match=r"index\.parquet: damaged: .*Delete it, and extract again"):
        ShardSet.open(str(copy))
    (copy / "index.parquet").unlink()
    with pytest.raises(
        UserError, match=r"index\.parquet: cannot read this shard set: there is no such file or folder\. Extract again"
    ):
        ShardSet.open(str(copy))
    (copy / "dataset.json").unlink()
    with pytest.raises(UserError, match="found an unfinished set: run its extraction again"):
        ShardSet.open(str(copy))


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_index(folder: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    path = folder / "index.parquet"
    pq.write_table(change(pq.read_table(path)), path)


def without_column(table: pa.Table) -> pa.Table:
    return table.drop_columns(["shard"])


def with_texts(table: pa.Table) -> pa.Table:
    return table.set_column(1, "label", table.column("label").cast(pa.string()))


def with_gaps(table: pa.Table) -> pa.Table:
    return table.set_column(0, "video_id", pa.array([None] * table.num_rows, pa.string()))


def with_another_label(table: pa.Table) -> pa.Table:
    return table.set_column(
        1, "label", pa.array([1 - value for value in table.column("label").to_pylist()], pa.int32())
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_column, "there is no column 'shard'"),
        (with_texts, "the column 'label' is of string, expected int32"),
        (with_gaps, "the column 'video_id' has empty values"),
        (with_another_label, "not the index that this set was finished with"),
        (lambda table: table.slice(0, 1), "not the index that this set was finished with"),
    ],
)
def test_an_index_of_another_schema_or_content_is_refused(
    copy: Path, change: Callable[[pa.Table], pa.Table], words: str
) -> None:
    edit_index(copy, change)
    with pytest.raises(UserError, match=rf"index\.parquet: {words}.*Delete it, and extract again"):
        ShardSet.open(str(copy))


def test_an_index_that_another_tool_wrote_anew_is_read(copy: Path) -> None:
    before = ShardSet.open(str(copy)).videos
    wide = {"label": pa.int64(), "video_id": pa.large_string()}
    edit_index(
        copy,
        lambda table: table.cast(pa.schema([(f.name, wide.get(f.name, f.type)) for f in table.schema])).append_column(
            "later", pa.array([1.0] * table.num_rows)
        ),
    )
    assert ShardSet.open(str(copy)).videos == before


def test_what_is_said_of_a_set_belongs_together(copy: Path) -> None:
    path = copy / "dataset.json"
    plain = json.loads(path.read_text())
    for changes, words in (
        ({"classes": plain["classes"][::-1]}, "which index.parquet calls 'class0' and dataset.json 'class1'"),
        ({"recipe": {**plain["recipe"], "width": 64}}, "its recipe is not the one that it was written with"),
        ({"content": "0" * 12}, "one of them was changed, or is another set's"),
        ({"shards": [{**plain["shards"][0], "name": "../../x.parquet"}]}, "'../../x.parquet' is no file of the set"),
        ({"modality": "sound"}, "sound"),
    ):
        edit_json(path, **{**plain, **changes})
        with pytest.raises(UserError, match=words) as said:
            ShardSet.open(str(copy))
        assert "\n" not in str(said.value)
    edit_json(path, **plain, later=[1])
    assert ShardSet.open(str(copy)).dataset.plain() == plain


def test_a_shard_of_another_set_under_the_same_name_is_refused(copy: Path, tmp_path: Path) -> None:
    found = ShardSet.open(str(copy))
    (copy / found.videos[0].shard).write_bytes((copy / found.videos[-1].shard).read_bytes())
    assert found.videos[0].shard != found.videos[-1].shard
    with pytest.raises(
        UserError, match=r"parquet: not the shard of this set: it was made from other videos.* Delete it"
    ):
        found.read_clip(found.videos[0], [0])
