"""Row groups are taken from their bytes alone, and whatever is not as it should be is refused, never guessed."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinebert.preprocessing.fetching.row_groups import OtherLayoutError, read_row_group
from kinebert.preprocessing.schema import segment_schema
from kinebert.preprocessing.sets.writer import row_group_bounds

OPTIONS = {"compression": "none", "use_dictionary": False, "write_statistics": False, "write_page_checksum": True}


def shard(lengths: list[int], modality: str = "flow", size: int = 50, **options: Any) -> tuple[bytes, list[Any]]:
    """A shard of one row group for each length, of so many images, and its rows."""
    schema, rng = segment_schema(modality), np.random.default_rng(0)
    rows = [
        {
            "video_id": "class/Zoë",
            "segment": i,
            "start": 32 * i,
            "num_images": length,
            "width": 340,
            "height": 256,
            **{name: [rng.bytes(size + k) for k in range(length)] for name in schema.names[6:]},
        }
        for i, length in enumerate(lengths)
    ]
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, **{**OPTIONS, **options}) as writer:
        for row in rows:
            writer.write_table(pa.Table.from_pylist([row], schema))
    return sink.getvalue(), rows


def group(data: bytes, number: int) -> pa.Buffer:
    bounds = row_group_bounds(pq.read_metadata(io.BytesIO(data)))
    return pa.py_buffer(data[bounds[number] : bounds[number + 1]])


def plain(row: dict[str, Any]) -> dict[str, Any]:
    return {k: [v.to_pybytes() for v in value] if isinstance(value, list) else value for k, value in row.items()}


@pytest.mark.parametrize("modality", ["rgb", "flow"])
@pytest.mark.parametrize("options", [{}, {"write_page_checksum": False}, {"write_statistics": True}])
def test_rows_are_those_that_were_written(modality: str, options: dict[str, Any]) -> None:
    data, rows = shard([32, 32, 1], modality, **options)
    for i, row in enumerate(rows):
        assert plain(read_row_group(group(data, i), segment_schema(modality))) == row


def test_large_images_and_many_pages() -> None:
    data, rows = shard([32], "rgb", size=100_000, data_page_size=1000, write_batch_size=1)
    assert plain(read_row_group(group(data, 0), segment_schema("rgb"))) == rows[0]


@pytest.mark.parametrize("options", [{"compression": "zstd"}, {"use_dictionary": True}, {"data_page_version": "2.0"}])
def test_another_layout_is_refused(options: dict[str, Any]) -> None:
    data, _ = shard([32], **options)
    with pytest.raises(OtherLayoutError):
        read_row_group(group(data, 0), segment_schema("flow"))


def test_every_bit_that_flips_is_noticed_or_changes_nothing() -> None:
    """In headers and levels, too; what Parquet has no checksum for is understood in one way only."""
    data, rows = shard([2], size=3)
    whole = group(data, 0).to_pybytes()
    schema, unseen = segment_schema("flow"), 0
    for position in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[position // 8] ^= 1 << position % 8
        try:
            found = plain(read_row_group(pa.py_buffer(bytes(changed)), schema))
        except OtherLayoutError:
            continue
        unseen += 1
        assert found == rows[0], f"bit {position}"
    assert unseen < 0.2 * 8 * len(whole), "a header has fields that nobody needs"


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b"\0", lambda data: b"", lambda data: data[1:]]
)
def test_too_few_and_too_many_bytes_are_refused(change: Any) -> None:
    data, _ = shard([5])
    with pytest.raises(OtherLayoutError):
        read_row_group(pa.py_buffer(change(group(data, 0).to_pybytes())), segment_schema("flow"))


def test_rubbish_is_refused() -> None:
    rng = np.random.default_rng(1)
    for size in [*range(40), *[1000] * 200]:
        with pytest.raises(OtherLayoutError):
            read_row_group(pa.py_buffer(rng.bytes(size)), segment_schema("rgb"))


def test_bounds_are_those_of_neighbours_only() -> None:
    data, _ = shard([32, 3])
    metadata = pq.read_metadata(io.BytesIO(data))
    first, second, end = row_group_bounds(metadata)
    assert (first, end) == (4, len(data) - 8 - metadata.serialized_size)
    assert first < second < end
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, segment_schema("rgb"), **OPTIONS):
        pass
    assert row_group_bounds(pq.read_metadata(sink)) == ()
