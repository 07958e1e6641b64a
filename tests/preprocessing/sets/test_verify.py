"""A whole set passes; every kind of damage is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.schema import INDEX
from kinebert.preprocessing.sets.folder import content_digest
from kinebert.preprocessing.sets.verify import verify_set
from tests.helpers.sets import make_rows, make_set


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    rows = make_rows(folder / "videos", [5, 40, 3])
    make_set(rows, folder / "rgb", FrameRecipe(resize="none"))
    make_set(rows, folder / "flow", FlowRecipe(resize="none"))
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole / "rgb", tmp_path / "rgb"))


@pytest.mark.parametrize(("kind", "images"), [("rgb", 48), ("flow", 45)])
def test_a_whole_set_passes(whole: Path, kind: str, images: int) -> None:
    seen: list[tuple[int, int]] = []
    verdict = verify_set(str(whole / kind), threads=2, on_shard=lambda *at: seen.append(at))
    assert verdict.problems == ()
    assert (verdict.num_shards, verdict.num_videos, verdict.num_images) == (2, 3, images)
    assert seen == [(1, 2), (2, 2)]


def first_shard(folder: Path) -> Path:
    return min(folder.glob("shard-*"))


def flip_a_byte(folder: Path) -> None:
    data = bytearray(first_shard(folder).read_bytes())
    data[len(data) // 2] ^= 1
    first_shard(folder).write_bytes(data)


def cut_a_shard(folder: Path) -> None:
    first_shard(folder).write_bytes(first_shard(folder).read_bytes()[:-100])


def lose_a_shard(folder: Path) -> None:
    first_shard(folder).unlink()


def leave_a_partial(folder: Path) -> None:
    (folder / ".shard-00000-of-00002.parquet.0123.partial").write_bytes(b"half")


def add_a_stranger(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")


def leave_attempts(folder: Path) -> None:
    (folder / ".attempts" / "run").mkdir(parents=True)


def edit_index(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        table = pq.read_table(folder / "index.parquet")
        rows = table.to_pylist()
        change(rows[0])
        pq.write_table(pa.Table.from_pylist(rows, table.schema), folder / "index.parquet")

    return edit


def edit_dataset(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        plain = json.loads((folder / "dataset.json").read_text())
        change(plain)
        (folder / "dataset.json").write_text(json.dumps(plain))

    return edit


def swap_rows(folder: Path, change: Callable[[list[pa.Table]], list[pa.Table]]) -> None:
    """Write a shard again with other row groups, and correct its digest."""
    path = first_shard(folder)
    file = pq.ParquetFile(path)
    groups = change([file.read_row_group(i) for i in range(file.num_row_groups)])
    with pq.ParquetWriter(path, groups[0].schema.with_metadata(file.schema_arrow.metadata)) as writer:
        for group in groups:
            writer.write_table(group)
        footer = {k: v for k, v in file.metadata.metadata.items() if k.startswith(b"kinebert.")}
        writer.add_key_value_metadata(footer)
    num_bytes, sha256 = path.stat().st_size, storage.file_digest(str(path))

    def correct(plain: dict[str, Any]) -> None:
        for shard in plain["shards"]:
            if shard["name"] == path.name:
                shard.update(bytes=num_bytes, sha256=sha256)
        table = pq.read_table(folder / "index.parquet").select(INDEX.names)  # row groups lie elsewhere now
        pq.write_table(table, folder / "index.parquet")
        index = table.to_pylist()
        plain["content"] = content_digest([shard["sha256"] for shard in plain["shards"]], index)

    edit_dataset(correct)(folder)


def with_frames(table: pa.Table, change: Callable[[list[bytes]], list[bytes]]) -> pa.Table:
    frames = change(table.column("frames")[0].as_py())
    position = table.schema.names.index("frames")
    return table.set_column(position, table.schema.field("frames"), pa.array([frames], pa.list_(pa.binary())))


def damage_a_jpeg(folder: Path) -> None:
    swap_rows(folder, lambda groups: [with_frames(groups[0], lambda f: [b"no picture", *f[1:]]), *groups[1:]])


def drop_a_frame(folder: Path) -> None:
    swap_rows(folder, lambda groups: [with_frames(groups[0], lambda f: f[:-1]), *groups[1:]])


def exchange_segments(folder: Path) -> None:
    swap_rows(folder, lambda groups: [groups[1], groups[0], *groups[2:]])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip_a_byte, "bytes that are not the"),
        (cut_a_shard, "bytes that are not the"),
        (lose_a_shard, "shard-00000-of-00002.parquet: missing; run the extraction again"),
        (leave_a_partial, "left by a killed writer; delete it"),
        (add_a_stranger, "notes.txt: does not belong to the set; delete it"),
        (leave_attempts, ".attempts: left by a killed job"),
        (edit_index(lambda row: row.update(num_frames=6, num_images=6)), "index.parquet says 6"),
        (edit_index(lambda row: row.update(label=1 - row["label"])), "index.parquet: is not the one that was written"),
        (edit_index(lambda row: row.update(num_frames=6)), "class0/v00: 5 images for 6 frames, expected 6"),
        (edit_index(lambda row: row.update(shard="shard-00009-of-00009.parquet")), "dataset.json does not"),
        (edit_index(lambda row: row.update(first_byte=5)), "do not lie where index.parquet says"),
        (edit_index(lambda row: row["row_group_bytes"].append(1)), "do not lie where index.parquet says"),
        (edit_index(lambda row: row.update(width=32)), "images of 64x48, expected 32x48"),
        (edit_index(lambda row: row.update(first_row_group=0 if row["first_row_group"] else 1)), "another segment"),
        (edit_dataset(lambda plain: plain["counts"].update(frames=1)), "dataset.json: says 1 frames"),
        (edit_dataset(lambda plain: plain.update(digest="0" * 12)), "the set by 000000000000"),
        (damage_a_jpeg, "an image of segment 0 does not decode: 10 bytes that are not a JPEG"),
        (drop_a_frame, "row group 0 holds another segment"),
        (exchange_segments, "row group 0 holds another segment"),
    ],
)
def test_damage_is_named(copy: Path, damage: Callable[[Path], None], words: str) -> None:
    damage(copy)
    problems = verify_set(str(copy)).problems
    assert any(words in problem for problem in problems), problems
    assert not any("\n" in problem for problem in problems)


def test_without_decoding_only_pictures_are_taken_on_trust(copy: Path) -> None:
    damage_a_jpeg(copy)
    assert verify_set(str(copy), decode=False).problems == ()
    lose_a_shard(copy)
    assert len(verify_set(str(copy), decode=False).problems) == 1


def test_what_is_no_finished_set_is_refused(copy: Path) -> None:
    (copy / "dataset.json").unlink()
    with pytest.raises(UserError, match="an unfinished set: run its extraction again"):
        verify_set(str(copy))
    with pytest.raises(UserError, match=r"absent: expected a finished shard set .*, found nothing"):
        verify_set(str(copy / "absent"))
    (copy / "dataset.json").write_text("{}")
    with pytest.raises(UserError, match="not a dataset.json of this program"):
        verify_set(str(copy))


def test_shards_of_another_solver_are_named(whole: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(whole / "flow", tmp_path / "flow"))
    edit_dataset(lambda plain: plain["flow"].update(solvers={"numba 0.1": 45}))(copy)
    problems = verify_set(str(copy), decode=False).problems
    assert len(problems) == 2
    assert all("dataset.json says numba 0.1" in problem for problem in problems)
    edit_dataset(lambda plain: plain.pop("flow"))(copy)  # as before solvers were recorded
    assert verify_set(str(copy), decode=False).problems == ()
