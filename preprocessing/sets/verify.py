"""Check a shard set: are all counts, digests and images what its index says, and is nothing else in its folder."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.extraction.guard import ATTEMPTS_FOLDER
from kinebert.preprocessing.modalities import modality_of
from kinebert.preprocessing.pose.joints import from_bytes
from kinebert.preprocessing.schema import JOINTS, SEGMENT_LENGTH, segment_schema
from kinebert.preprocessing.sets.dataset_file import CLAIM, DATASET_FILE, INDEX_FILE, ShardFacts
from kinebert.preprocessing.sets.folder import content_digest
from kinebert.preprocessing.sets.reader import ShardSet, VideoEntry, plain_rows
from kinebert.preprocessing.sets.writer import read_footer, row_group_bounds, summaries_in
from kinebert.preprocessing.stores.answers import StoreAwayError
from kinebert.preprocessing.video.h264 import decode_segment
from kinebert.preprocessing.video.images import decode_images


@dataclass(frozen=True)
class Verdict:
    """How much of a set was looked at, and what is wrong with it."""

    num_shards: int
    num_videos: int
    num_images: int
    problems: tuple[str, ...]


def verify_set(
    uri: str, *, decode: bool = True, threads: int = 1, on_shard: Callable[[int, int], None] = lambda done, total: None
) -> Verdict:
    """Check the finished set at ``uri``.

    Args:
        uri: Its location.
        decode: Decode every image; without it, only counts, digests and leftovers are checked.
        threads: Shards looked at side by side.
        on_shard: Told (shards done, shards in all).

    Raises:
        UserError: If there is no finished set.
    """
    found = ShardSet.open(uri, whole=False)
    shards = found.dataset.shards
    problems = list(_leftovers(found, [shard.name for shard in shards]))
    problems += _totals(found)
    videos: dict[str, list[VideoEntry]] = {shard.name: [] for shard in shards}
    for entry in found.videos:
        if entry.shard in videos:
            videos[entry.shard].append(entry)
        else:
            problems.append(f"{entry.video_id}: index.parquet names {entry.shard}, dataset.json does not")

    def check(shard: ShardFacts) -> list[str]:
        try:
            return list(_shard(found, shard, videos[shard.name], decode))
        except StoreAwayError:  # it says nothing of the shard
            raise
        except (UserError, OSError, pa.ArrowException) as error:
            return [f"{shard.name}: {error}"]

    with ThreadPoolExecutor(threads) as pool:
        for done, result in enumerate(pool.map(check, shards), start=1):
            problems += result
            on_shard(done, len(shards))
    num_images = sum(entry.num_images for entry in found.videos)
    return Verdict(len(shards), len(found.videos), num_images, tuple(problems))


def _leftovers(found: ShardSet, shards: list[str]) -> Iterator[str]:
    there = storage.list_files(found.uri)
    for name in sorted(set(there) - {*shards, CLAIM, INDEX_FILE, DATASET_FILE}):
        left = "left by a killed writer" if name.endswith(storage.PARTIAL) else "does not belong to the set"
        yield f"{name}: {left}; delete it"
    for name in sorted(set(shards) - set(there)):
        yield f"{name}: missing; run the extraction again"
    if storage.exists(storage.join(found.uri, ATTEMPTS_FOLDER)):
        yield f"{ATTEMPTS_FOLDER}: left by a killed job; run the extraction again"


def _totals(found: ShardSet) -> Iterator[str]:
    ours = {
        "stored": len(found.videos),
        "rejected": len(found.rejected),
        "videos": len(found.videos) + len(found.rejected),
        "frames": sum(entry.num_frames for entry in found.videos),
        "images": sum(entry.num_images for entry in found.videos),
        "truncated": sum(entry.truncated for entry in found.videos),
    }
    said = asdict(found.dataset.counts)
    if said["repeated"] is not None:  # else some shard is of a version that did not count
        ours["repeated"] = sum(entry.num_repeated or 0 for entry in found.videos)
        ours["near_still"] = sum(entry.num_near_still or 0 for entry in found.videos)
    index = content_digest([shard.sha256 for shard in found.dataset.shards], plain_rows(found.videos))
    if index != found.content:
        yield f"{INDEX_FILE}: is not the one that was written ({index}, not {found.content}); extract again"
    for name, count in ours.items():
        if said[name] != count:
            yield f"{DATASET_FILE}: says {said[name]} {name}, {INDEX_FILE} has {count}"
    for entry in found.videos:
        expected = entry.num_frames - modality_of(found.modality).fewer
        if entry.num_images != expected:
            yield f"{entry.video_id}: {entry.num_images} images for {entry.num_frames} frames, expected {expected}"


def _shard(found: ShardSet, shard: ShardFacts, entries: list[VideoEntry], decode: bool) -> Iterator[str]:
    name = shard.name
    uri = storage.join(found.uri, name)
    if not storage.exists(uri):
        return  # said among the leftovers
    num_bytes, sha256 = storage.file_size(uri), storage.file_digest(uri)
    if num_bytes != shard.bytes or sha256 != shard.sha256:
        yield f"{name}: {num_bytes} bytes that are not the {shard.bytes} that were written; delete it, extract again"
        return
    footer = read_footer(uri)
    if found.solvers and footer.get("kinebert.solver", "unknown") not in found.solvers:
        yield f"{name}: solved by {footer.get('kinebert.solver')}, {DATASET_FILE} says {', '.join(found.solvers)}"
    if footer["kinebert.digest"] != found.digest:
        yield f"{name}: made by recipe {footer['kinebert.digest']}, the set by {found.digest}"
    stored = [video.video_id for video in summaries_in(footer, uri) if not video.rejected]
    if sorted(stored) != sorted(entry.video_id for entry in entries):
        yield f"{name}: holds {len(stored)} videos, {INDEX_FILE} lists {len(entries)} others or fewer"
        return
    with storage.open_input(uri) as source:
        file = pq.ParquetFile(source, page_checksum_verification=True)
        expected = segment_schema(found.modality, found.has_joints).names
        if file.schema_arrow.names != expected:
            yield f"{name}: columns {file.schema_arrow.names}, expected {expected}"
            return
        bounds = row_group_bounds(file.metadata)
        for entry in entries:
            if not _lies_where_said(entry, bounds):
                yield f"{name}: {entry.video_id}: its row groups do not lie where {INDEX_FILE} says; extract again"
            yield from _video(file, entry, found, decode)


def _lies_where_said(entry: VideoEntry, bounds: Sequence[int]) -> bool:
    if entry.first_byte is None and not entry.row_group_bytes:
        return True  # sets of earlier versions do not say
    last = entry.first_row_group + entry.num_row_groups
    said = itertools.accumulate(entry.row_group_bytes, initial=entry.first_byte)
    return tuple(said) == tuple(bounds[entry.first_row_group : last + 1])


def _video(file: pq.ParquetFile, entry: VideoEntry, found: ShardSet, decode: bool) -> Iterator[str]:
    where, counted = f"{entry.shard}: {entry.video_id}", 0
    for segment in range(entry.num_row_groups):
        row = file.read_row_group(entry.first_row_group + segment)
        start = segment * SEGMENT_LENGTH
        keys = [row.column(name)[0].as_py() for name in ("video_id", "segment", "start", "num_images")]
        names = [column.name for column in modality_of(found.modality).columns]
        columns = [row.column(name).chunk(0).values for name in names]
        if keys[:3] != [entry.video_id, segment, start] or any(len(column) != keys[3] for column in columns):
            yield f"{where}: row group {entry.first_row_group + segment} holds another segment ({keys})"
            return
        counted += keys[3]
        if found.has_joints and (problem := _joints(row, keys[3])):
            yield f"{where}: joints of segment {segment}: {problem}"
        if decode:
            try:
                jpegs = [[value.as_buffer() for value in column] for column in columns]
                if found.codec == "h264":
                    images = decode_segment(jpegs[0], range(keys[3]), (entry.height, entry.width))
                else:
                    images = decode_images(list(zip(*jpegs, strict=True)), modality_of(found.modality))
            except ValueError as error:
                yield f"{where}: an image of segment {segment} does not decode: {error}"
                continue
            if images.shape[1:3] != (entry.height, entry.width):
                yield f"{where}: images of {images.shape[2]}x{images.shape[1]}, expected {entry.width}x{entry.height}"
    if counted != entry.num_images:
        yield f"{where}: {counted} images stored, {INDEX_FILE} says {entry.num_images}"


def _joints(row: pa.Table, num_images: int) -> str | None:
    """What is wrong with the joints of a segment."""
    people, width, height = (row.column(name).chunk(0) for name in JOINTS.names)
    if len(people.values) != num_images:
        return f"people of {len(people.values)} images, expected {num_images}"
    if not (width[0].as_py() > 0 and height[0].as_py() > 0):
        return f"found in a picture of {width[0]}x{height[0]} pixels"
    try:
        for value in people.values:
            from_bytes(value.as_buffer())
    except ValueError as error:
        return str(error)
    return None
