"""The files that make a folder of shards a set: whose it is while it is made, and what it holds when it is done."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kinebert.preprocessing import storage
from kinebert.preprocessing.checked.documents import document_text
from kinebert.preprocessing.config import differences, digest, digest_of_rows
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe, preset_of
from kinebert.preprocessing.schema import FORMAT_VERSION, INDEX, INDEX_MORE
from kinebert.preprocessing.sets.dataset_file import (
    CLAIM,
    DATASET_FILE,
    INDEX_FILE,
    Claim,
    Counts,
    DatasetFile,
    FlowFacts,
    PoseFacts,
    RejectedVideo,
    ShardFacts,
    index_digest,
    read_claim,
    read_dataset_file,
)
from kinebert.preprocessing.sets.digests import forget_records
from kinebert.preprocessing.sets.plan import PlannedShard
from kinebert.preprocessing.sets.writer import ShardSummary, VideoSummary

_Entry = tuple[VideoSummary, ShardSummary]
_AT_A_TIME = 8192
_MANY_REPEATS = 0.05
"""Share of repeated frames from which on it is said what can be done about them."""
_NOT_HASHED = frozenset(INDEX_MORE.names)


def claim_output(output: str, recipe: FrameRecipe, shards: Sequence[PlannedShard]) -> list[PlannedShard]:
    """Bind the folder ``output`` to a recipe and a list of videos, and return the plan to follow.

    That is the plan of the first job here: files that were replaced since change their shards, not the others.

    Raises:
        ConfigError: If it is bound to others already, with what differs, or holds Parquet files of somebody else.
    """
    path = storage.join(output, CLAIM)
    there = storage.list_files(output)
    videos = {video.video_id: video for shard in shards for video in shard.videos}
    made = [name for name in there if name.endswith(".parquet")]
    if CLAIM not in there or not made:  # a claim that nothing was made from yet binds nobody
        if made:
            raise ConfigError(f"{output}: holds Parquet files that are no shard set ({made[0]}). Choose another.")
        plan = {shard.name: [video.video_id for video in shard.videos] for shard in shards}
        text = document_text(Claim(recipe=recipe.plain(), plan=plan), indent=1, sort_keys=True)
        storage.write_bytes(path, f"{text}\n".encode())
        return list(shards)
    found = read_claim(output)
    claimed = {video_id for ids in found.plan.values() for video_id in ids}
    differ = differences(recipe.plain(), found.recipe)
    if differ:
        raise ConfigError(
            f"{output}: was made with another recipe (here != there): {'; '.join(differ)}. Images made in two ways do "
            "not mix: choose another output folder, or go back to its recipe."
        )
    if videos.keys() != claimed:
        some = ", ".join(sorted(videos.keys() ^ claimed)[:3])
        raise ConfigError(
            f"{output}: was made from another list of videos ({len(claimed)} there, {len(videos)} here; only in one: "
            f"{some}). Choose another output folder."
        )
    return [PlannedShard(name, tuple(videos[id_] for id_ in ids)) for name, ids in sorted(found.plan.items())]


def is_finished(output: str, rows: Sequence[ManifestRow], shards: Sequence[PlannedShard]) -> bool:
    """Whether ``output`` holds the finished set of a claimed plan, with the manifest's present files and labels.

    Shards are known by name and size; :func:`.changed_shards` looks at their bytes.
    """
    dataset = read_dataset_file(output)
    if dataset is None or dataset.labels != labels_digest(rows):
        return False
    if len(dataset.shards) != len(shards):
        return False
    if not all(plan.is_of(made.files, made.sources) for made, plan in zip(dataset.shards, shards, strict=True)):
        return False
    if not {shard.name for shard in shards} | {INDEX_FILE} <= set(storage.list_files(output)):
        return False
    return all(storage.file_size(storage.join(output, shard.name)) == shard.bytes for shard in dataset.shards)


def finish_set(
    output: str, recipe: FrameRecipe, rows: Sequence[ManifestRow], summaries: Sequence[ShardSummary]
) -> DatasetFile:
    """Write ``index.parquet`` and then ``dataset.json``, which says that the set is complete; return the latter."""
    by_id = {row.video_id: row for row in rows}
    shards = sorted(summaries, key=lambda shard: shard.name)
    entries = sorted(((video, shard) for shard in shards for video in shard.videos), key=lambda one: one[0].video_id)
    assert [video.video_id for video, _ in entries] == sorted(by_id), "every video of the manifest is in one shard"
    rejected = _rejected(entries, by_id)
    index, content = _index(entries, by_id, [shard.sha256 for shard in shards])
    index_bytes = pa.BufferOutputStream()
    texts = ["label_name", "shard", "splits.key_value.key", "splits.key_value.value"]  # the same ones again and again
    pq.write_table(index, index_bytes, use_dictionary=texts)
    data = index_bytes.getvalue().to_pybytes()
    with storage.explained(output, "finish the set"):
        storage.write_bytes(storage.join(output, INDEX_FILE), data)
    facts = [
        ShardFacts(
            name=shard.name,
            bytes=shard.num_bytes,
            sha256=shard.sha256,
            files=shard.files,
            sources=shard.sources,
        )
        for shard in shards
    ]
    dataset = DatasetFile(
        format=FORMAT_VERSION,
        modality=recipe.modality,
        recipe=recipe.plain(),
        digest=recipe.digest(),
        content=content,
        labels=labels_digest(rows),
        classes=_classes(rows),
        counts=Counts(
            videos=len(rows),
            stored=index.num_rows,
            rejected=len(rejected),
            truncated=pc.sum(index.column("truncated"), min_count=0).as_py(),
            frames=sum(video.num_frames for video, _ in entries),
            images=sum(video.num_images for video, _ in entries),
            bytes=sum(shard.num_bytes for shard in shards),
            shards=len(shards),
            repeated=_total(index.column("num_repeated")),
            near_still=_total(index.column("num_near_still")),
        ),
        shards=facts,
        rejected=rejected,
        flow=_flow(recipe, shards),
        index=index_digest(content, facts, hashlib.sha256(data).hexdigest()),
        poses=_poses(recipe, shards),
    )
    text = f"{document_text(dataset.plain(), indent=2, sort_keys=True)}\n"
    with storage.explained(output, "finish the set"):
        storage.write_bytes(storage.join(output, DATASET_FILE), text.encode())
        forget_records(output)
    return dataset


def _flow(recipe: FrameRecipe, shards: Sequence[ShardSummary]) -> FlowFacts | None:
    """What is said of flow beyond its recipe: the preset that its parameters are, and who solved how many fields."""
    if not isinstance(recipe, FlowRecipe):
        return None
    return FlowFacts(preset=preset_of(recipe.tvl1), solvers=_solvers(shards))


def _poses(recipe: FrameRecipe, shards: Sequence[ShardSummary]) -> PoseFacts | None:
    """What is said of poses beyond their recipe: who looked at how many frames."""
    return PoseFacts(solvers=_solvers(shards)) if recipe.has_joints else None


def _solvers(shards: Sequence[ShardSummary]) -> dict[str, int]:
    solvers: dict[str, int] = {}
    for shard in shards:
        name = shard.solver or "unknown"
        solvers[name] = solvers.get(name, 0) + sum(video.num_images for video in shard.videos)
    return solvers


def _total(numbers: pa.ChunkedArray) -> int | None:
    """Add up a column; None if one of its numbers is not known."""
    return None if numbers.null_count else int(pc.sum(numbers, min_count=0).as_py())


def describe_still(counts: Counts, recipe: Mapping[str, Any]) -> str | None:
    """One line for people on how many frames of a set show no motion; None if that was not counted."""
    if counts.repeated is None or counts.near_still is None:
        return None
    dropped = bool(recipe.get("drop_repeats"))
    frames = counts.frames + counts.repeated * dropped
    share = counts.repeated / max(1, frames)
    verb = "repeated the one before and were left out" if dropped else "repeat the one before"
    way_out = " (--drop-repeats leaves repeats out)" if share >= _MANY_REPEATS and not dropped else ""
    text = f"{counts.repeated} of {frames} frames ({share:.1%}) {verb}, {counts.near_still} more are nearly still"
    return text + way_out


def describe_flow(flow: FlowFacts | None) -> str | None:
    """One line for people on who solved a set's flow; None if there is nothing to say."""
    if flow is None:
        return None
    solvers = ", ".join(f"{name} ({count} fields)" for name, count in sorted(flow.solvers.items()))
    return f"TV-L1, {f'preset {flow.preset}' if flow.preset else 'own parameters'}, solved by {solvers}"


def describe_poses(poses: PoseFacts | None, recipe: Mapping[str, Any]) -> str | None:
    """One line for people on who looked for people in a set's frames; None if nobody did."""
    if poses is None:
        return None
    solvers = ", ".join(f"{name} ({count} frames)" for name, count in sorted(poses.solvers.items()))
    return f"poses found by {recipe.get('backend')}: {solvers}"


def _index(entries: Sequence[_Entry], by_id: Mapping[str, ManifestRow], sha256s: Sequence[str]) -> tuple[pa.Table, str]:
    """Return what ``index.parquet`` holds, and the set's content digest. Rows become columns a few at a time."""
    rows, schema = _index_rows(entries, by_id), pa.schema([*INDEX, *INDEX_MORE])
    made = [schema.empty_table()]

    def seen() -> Iterator[dict[str, Any]]:
        while some := list(itertools.islice(rows, _AT_A_TIME)):
            made.append(pa.Table.from_pylist(some, schema=schema))
            yield from some

    content = content_digest(sha256s, seen())
    return pa.concat_tables(made).combine_chunks(), content


def _index_rows(entries: Sequence[_Entry], by_id: Mapping[str, ManifestRow]) -> Iterator[dict[str, Any]]:
    """Yield the videos that are stored, with the shard that each lies in."""
    return (
        {
            "video_id": video.video_id,
            "label": by_id[video.video_id].label,
            "label_name": by_id[video.video_id].label_name,
            "splits": sorted(by_id[video.video_id].splits.items()),
            "shard": shard.name,
            "first_row_group": video.first_row_group,
            "num_row_groups": video.num_row_groups,
            "num_frames": video.num_frames,
            "num_images": video.num_images,
            "width": video.width,
            "height": video.height,
            "truncated": video.truncated,
            "problem": video.problem,
            **_ranges(video, shard.row_group_bounds),
            "num_repeated": video.num_repeated,
            "num_near_still": video.num_near_still,
        }
        for video, shard in entries
        if not video.rejected
    )


def _ranges(video: VideoSummary, bounds: Sequence[int]) -> dict[str, Any]:
    """Where the row groups of a video lie in its shard; nothing if that is not known."""
    mine = bounds[video.first_row_group : video.first_row_group + video.num_row_groups + 1]
    if len(mine) <= video.num_row_groups:
        return {"first_byte": None, "row_group_bytes": None}
    return {"first_byte": mine[0], "row_group_bytes": [end - start for start, end in itertools.pairwise(mine)]}


def _rejected(entries: Sequence[_Entry], by_id: Mapping[str, ManifestRow]) -> list[RejectedVideo]:
    """The videos that were left out, and why."""
    return [
        RejectedVideo(
            video_id=video.video_id,
            label=by_id[video.video_id].label,
            label_name=by_id[video.video_id].label_name,
            splits=dict(sorted(by_id[video.video_id].splits.items())),
            problem=video.problem or "",
        )
        for video, _ in entries
        if video.rejected
    ]


def content_digest(sha256s: Sequence[str], index: Iterable[Mapping[str, Any]]) -> str:
    """Digest of every byte of a set: of its shards' digests, and the rows of its index.

    What an index has beside the columns that every version wrote does not change it.
    """
    return digest_of_rows(list(sha256s), map(_hashed, index))


def _hashed(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in row.items() if name not in _NOT_HASHED}
    return {**kept, "splits": sorted(dict(row["splits"]).items())}


def labels_digest(rows: Sequence[ManifestRow]) -> str:
    """Digest of what a manifest says beyond the pixels: labels and splits."""
    return digest([[r.video_id, r.label, r.label_name, sorted(r.splits.items())] for r in rows])


def _classes(rows: Sequence[ManifestRow]) -> list[str]:
    names = {row.label: row.label_name for row in rows if row.label >= 0}
    return [names.get(label, "") for label in range(max(names, default=-1) + 1)]
