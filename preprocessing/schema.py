"""Columns of the tables on disk, with their units, and the words their metadata uses."""

import functools

import pyarrow as pa

from kinebert.preprocessing.modalities import modality_of

FORMAT_VERSION = 1
"""Changes whenever old shards cannot be read, or would be made with other images, by this code. Bytes around the images
may differ between versions: earlier ones wrote no checksums of pages."""

SEGMENT_LENGTH = 32
"""Most consecutive images in one row of a shard."""


def _field(name: str, kind: pa.DataType, about: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"about": about})


MANIFEST = pa.schema(
    [
        _field("video_id", pa.string(), "relative path without extension, unique"),
        _field("path", pa.string(), "absolute local path or URI"),
        _field("label", pa.int32(), "class index, -1 where the class is not known"),
        _field("label_name", pa.string(), "class name"),
        _field("group", pa.string(), "recording that the video was cut from; a split never divides a group"),
        _field("splits", pa.map_(pa.string(), pa.string()), "split name to train, val or test"),
        _field("width", pa.int32(), "pixels as coded, before rotation; 0 where not known"),
        _field("height", pa.int32(), "pixels as coded, before rotation; 0 where not known"),
        _field("fps", pa.float64(), "frames per second as the header says; 0 where it does not"),
        _field("duration_s", pa.float64(), "seconds as the header says; 0 where it does not"),
        _field("codec", pa.string(), "name of the video codec"),
        _field("rotation", pa.int32(), "degrees counter-clockwise that bring the picture upright"),
        _field("pixel_aspect", pa.float64(), "width over height of one pixel; 1 where the header says nothing"),
        _field("bytes", pa.int64(), "size of the file in bytes"),
        _field("problem", pa.string(), "why the video cannot be used; null where it can", nullable=True),
    ]
)

SEGMENT_COLUMNS = pa.schema(
    [
        _field("start", pa.float64(), "where its segment of the file begins; null for the whole file", nullable=True),
        _field("end", pa.float64(), "where it ends, itself not in it; null for the end of the file", nullable=True),
        _field("unit", pa.string(), "s (seconds from the first frame) or frames (from 0)", nullable=True),
    ]
)
"""Columns that a manifest has as well where a video is a segment of its file."""

FINGERPRINT_COLUMN = pa.schema(
    [_field("fingerprint", pa.string(), "of the file's size and ends; null where not known", nullable=True)]
)
"""Column that a manifest has as well where local files were indexed, by versions that look at more than their sizes."""

_SEGMENT = [
    _field("video_id", pa.string(), "as in the manifest"),
    _field("segment", pa.int32(), "position of the row in its video, from 0"),
    _field("start", pa.int32(), "position of the row's first image in its video, from 0"),
    _field("num_images", pa.int32(), "images in this row"),
    _field("width", pa.int32(), "pixels"),
    _field("height", pa.int32(), "pixels"),
]

INDEX = pa.schema(
    [
        _field("video_id", pa.string(), "as in the manifest"),
        _field("label", pa.int32(), "class index"),
        _field("label_name", pa.string(), "class name"),
        _field("splits", pa.map_(pa.string(), pa.string()), "split name to train, val or test"),
        _field("shard", pa.string(), "file name of the shard"),
        _field("first_row_group", pa.int32(), "row group of the video's first segment"),
        _field("num_row_groups", pa.int32(), "segments of the video; one row group each"),
        _field("num_frames", pa.int32(), "frames that were decoded and kept"),
        _field("num_images", pa.int32(), "stored images: frames, or flow fields (one fewer)"),
        _field("width", pa.int32(), "pixels of the stored images"),
        _field("height", pa.int32(), "pixels of the stored images"),
        _field("truncated", pa.bool_(), "decoding ended with an error; the frames before it are kept"),
        _field("problem", pa.string(), "the decoder's words where truncated; else null", nullable=True),
    ]
)

INDEX_RANGES = pa.schema(
    [
        _field("first_byte", pa.int64(), "where the video's first row group begins in the shard", nullable=True),
        _field(
            "row_group_bytes", pa.list_(pa.int32()), "length of each row group; they follow each other", nullable=True
        ),
    ]
)
"""Columns that an index has as well, so that row groups are read without the footers of their shards. Sets of earlier
versions lack them."""

INDEX_STILL = pa.schema(
    [
        _field("num_repeated", pa.int32(), "frames that repeat the one before; null where not counted", nullable=True),
        _field(
            "num_near_still", pa.int32(), "other frames that are nearly still; null where not counted", nullable=True
        ),
    ]
)
"""Columns that an index has as well where frames without motion were counted. Sets of earlier versions lack them."""

INDEX_MORE = pa.schema([*INDEX_RANGES, *INDEX_STILL])
"""All columns that some indexes lack. What they say does not change the digest of a set's content."""


JOINTS = pa.schema(
    [
        _field(
            "joints",
            pa.list_(pa.binary()),
            "one item per image: float16, little-endian, persons x 25 joints (BODY_25) x (x, y, score), in pixels of "
            "the picture that was looked at; 0, 0, 0 where not found",
        ),
        _field("seen_width", pa.int32(), "pixels of the picture that was looked at"),
        _field("seen_height", pa.int32(), "pixels of the picture that was looked at"),
    ]
)
"""Columns that a shard has as well where people were looked for in its frames."""


@functools.lru_cache
def segment_schema(modality: str, joints: bool = False) -> pa.Schema:
    """Columns of a shard of that modality: where a segment belongs, and a list of JPEGs per kind of picture.

    With ``joints``, those of :data:`JOINTS` as well.
    """
    pictures = [_field(column.name, pa.list_(pa.binary()), column.about) for column in modality_of(modality).columns]
    return pa.schema([*_SEGMENT, *pictures, *(JOINTS if joints else ())])
