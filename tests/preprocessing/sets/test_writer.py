"""A shard appears whole or not at all, and says in its footer what it is."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.schema import segment_schema
from kinebert.preprocessing.sets.writer import VideoSummary, open_shard, read_footer, summarize


def segment(number: int, images: int = 3, modality: str = "rgb") -> pa.RecordBatch:
    """One row of a shard; its pictures are any bytes."""
    schema = segment_schema(modality)
    pictures = [[f"{number}/{i}".encode() for i in range(images)]] * (len(schema) - 6)
    values = ["v", number, 32 * number, images, 64, 48, *pictures]
    return pa.record_batch([pa.array([value], field.type) for value, field in zip(values, schema, strict=True)], schema)


@pytest.fixture(params=["disk", "store"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    uri = str(tmp_path) if request.param == "disk" else f"mock:///{tmp_path.name}"
    storage.make_folder(uri)
    return uri


@pytest.mark.parametrize("recipe", [FrameRecipe(), FlowRecipe()], ids=["rgb", "flow"])
def test_what_is_written_is_read(root: str, recipe: FrameRecipe) -> None:
    uri = storage.join(root, "s.parquet")
    video = VideoSummary(video_id="v ü", num_row_groups=2, num_frames=6, num_images=5, truncated=True, problem="why")
    with open_shard(uri, recipe, "0123", "numba 1") as writer:
        for number in range(2):
            writer.append(segment(number, modality=recipe.modality))
        assert writer.num_row_groups == 2
        writer.describe([video])
        assert not storage.exists(uri), "it has no name before it is whole"
    footer = read_footer(uri)
    assert (footer["kinebert.digest"], footer["kinebert.files"], footer["kinebert.solver"]) == (
        recipe.digest(),
        "0123",
        "numba 1",
    )
    found = summarize(uri)
    assert (found.name, found.videos, found.solver, found.files) == ("s.parquet", (video,), "numba 1", "0123")
    assert (found.num_bytes, found.sha256) == (storage.file_size(uri), storage.file_digest(uri))
    with storage.open_input(uri) as source:
        file = pq.ParquetFile(source)
        assert file.num_row_groups == 2
        assert file.read_row_group(1).equals(pa.Table.from_batches([segment(1, modality=recipe.modality)]))


def test_an_error_leaves_no_shard(root: str) -> None:
    uri = storage.join(root, "s.parquet")

    def fail() -> None:
        with open_shard(uri, FrameRecipe(), "0123", None) as writer:
            writer.append(segment(0))
            raise KeyError("bug")

    with pytest.raises(KeyError):
        fail()
    assert storage.list_files(root) == []


def test_frames_have_no_solver(root: str) -> None:
    uri = storage.join(root, "s.parquet")
    with open_shard(uri, FrameRecipe(), "0123", None) as writer:
        writer.describe([])
    assert "kinebert.solver" not in read_footer(uri)
    assert summarize(uri).solver is None
    assert summarize(uri).videos == ()


def test_the_same_segments_give_the_same_bytes(root: str) -> None:
    for name in ("a", "b"):
        with open_shard(storage.join(root, name), FrameRecipe(), "0123", None) as writer:
            writer.append(segment(0))
            writer.describe([VideoSummary(video_id="v")])
    assert storage.file_digest(storage.join(root, "a")) == storage.file_digest(storage.join(root, "b"))


def test_pictures_of_another_kind_do_not_get_in(root: str) -> None:
    with (
        open_shard(storage.join(root, "s.parquet"), FrameRecipe(), "0123", None) as writer,
        pytest.raises(AssertionError, match="flow_x"),
    ):
        writer.append(segment(0, modality="flow"))


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", None])
def test_what_is_no_shard_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "s.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match="s.parquet: not a readable shard: .* Delete it and run the extraction again"):
        read_footer(str(path))


def test_a_table_of_somebody_else_is_no_shard(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "s.parquet")
    with pytest.raises(UserError, match="not a shard of this program. Move it out of the folder"):
        read_footer(str(tmp_path / "s.parquet"))


def test_a_disk_that_is_full_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)

    def write() -> None:
        with open_shard(str(tmp_path / "s.parquet"), FrameRecipe(), "0123", None) as writer:
            writer.append(segment(0))

    with pytest.raises(UserError, match=r"s\.parquet: cannot write this shard: no space is left on the device"):
        write()
    assert list(tmp_path.iterdir()) == []
