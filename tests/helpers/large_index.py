"""A set of as many videos as one likes, without a single picture: its index and its ``dataset.json``."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kinebert.preprocessing.checked.documents import document_text
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.schema import FORMAT_VERSION, INDEX, INDEX_RANGES
from kinebert.preprocessing.sets.dataset_file import Counts, DatasetFile, ShardFacts, index_digest

PER_SHARD, CLASSES = 16, 700
NUM_IMAGES, ROW_GROUPS, ROW_GROUP_BYTES = 300, 10, 730_000


def index_table(num_videos: int, row_groups: bool) -> pa.Table:
    """Rows as those of Kinetics-700: videos of ten seconds, 16 to a shard, a tenth of them in the part ``val``."""
    row = np.arange(num_videos)
    shards = -(-num_videos // PER_SHARD)
    names = pa.array([f"shard-{i:05d}-of-{shards:05d}.parquet" for i in range(shards)])
    classes = pa.array([f"playing instrument number {i:03d}" for i in range(CLASSES)])
    labels = row * CLASSES // num_videos
    ones = np.ones(num_videos, np.int32)
    split = pa.array(np.array(["train"] * 9 + ["val"]))
    columns = {
        "video_id": pa.array([f"{labels[i]:03d}/{i:07d}_{i % 97:06d}_000010" for i in row]),
        "label": pa.array(labels, pa.int32()),
        "label_name": classes.take(pa.array(labels)),
        "splits": pa.MapArray.from_arrays(
            np.arange(num_videos + 1, dtype=np.int32),
            pc.take(pa.array(["split1"]), pa.array(0 * row)),
            split.take(pa.array(row % 10)),
        ),
        "shard": names.take(pa.array(row // PER_SHARD)),
        "first_row_group": pa.array(row % PER_SHARD * ROW_GROUPS, pa.int32()),
        "num_row_groups": pa.array(ROW_GROUPS * ones),
        "num_frames": pa.array(NUM_IMAGES * ones),
        "num_images": pa.array(NUM_IMAGES * ones),
        "width": pa.array(340 * ones),
        "height": pa.array(256 * ones),
        "truncated": pa.array(np.zeros(num_videos, bool)),
        "problem": pa.nulls(num_videos, pa.string()),
    }
    if not row_groups:
        return pa.table(columns, schema=INDEX)
    sizes = np.random.default_rng(0).integers(ROW_GROUP_BYTES // 2, ROW_GROUP_BYTES, num_videos * ROW_GROUPS)
    columns["first_byte"] = pa.array(row % PER_SHARD * ROW_GROUPS * ROW_GROUP_BYTES)
    offsets = pa.array(np.arange(num_videos + 1) * ROW_GROUPS, pa.int32())
    columns["row_group_bytes"] = pa.ListArray.from_arrays(offsets, pa.array(sizes, pa.int32()))
    return pa.table(columns, schema=pa.schema([*INDEX, *INDEX_RANGES]))


def write_large_index(folder: Path, num_videos: int, row_groups: bool = True) -> str:
    """Write what a finished set of ``num_videos`` says of itself, and return its location."""
    folder.mkdir(parents=True)
    table = index_table(num_videos, row_groups)
    pq.write_table(table, folder / "index.parquet")
    names = table.column("shard").unique().to_pylist()
    facts = [
        ShardFacts(name=name, bytes=PER_SHARD * ROW_GROUPS * ROW_GROUP_BYTES, sha256=f"{i:064x}", files=f"{i:012x}")
        for i, name in enumerate(names)
    ]
    images = num_videos * NUM_IMAGES
    counts = Counts(
        videos=num_videos,
        stored=num_videos,
        rejected=0,
        truncated=0,
        frames=images,
        images=images,
        bytes=sum(fact.bytes for fact in facts),
        shards=len(facts),
    )
    recipe = FrameRecipe()
    content = "0" * 12  # of hundreds of thousands of rows it takes seconds
    dataset = DatasetFile(
        format=FORMAT_VERSION,
        modality="rgb",
        recipe=recipe.plain(),
        digest=recipe.digest(),
        content=content,
        labels="",
        classes=[f"playing instrument number {i:03d}" for i in range(CLASSES)],
        counts=counts,
        shards=facts,
        rejected=[],
        index=index_digest(content, facts, hashlib.sha256((folder / "index.parquet").read_bytes()).hexdigest()),
    )
    (folder / "dataset.json").write_text(document_text(dataset.plain()))
    return str(folder)
