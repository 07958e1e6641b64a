"""The files that make a folder of shards a set: whose it is while it is made, and what it holds when it is done."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kinebert.preprocessing import storage
from kinebert.preprocessing.config import differences, digest
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.plain_text import json_text
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe, preset_of
from kinebert.preprocessing.schema import FORMAT_VERSION, INDEX
from kinebert.preprocessing.sets.digests import forget_digests
from kinebert.preprocessing.sets.plan import PlannedShard
from kinebert.preprocessing.sets.writer import ShardSummary, VideoSummary

CLAIM, INDEX_FILE, DATASET_FILE = ".claim.json", "index.parquet", "dataset.json"


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
        plain = {"recipe": recipe.plain(), "plan": plan}
        storage.write_bytes(path, f"{json_text(plain, indent=1, sort_keys=True)}\n".encode())
        return list(shards)
    try:
        found = json.loads(storage.read_bytes(path))
        claimed = {video_id for ids in found["plan"].values() for video_id in ids}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"{path}: not a claim of this version. Choose another output folder.") from None
    differ = differences(recipe.plain(), found["recipe"])
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
    return [PlannedShard(name, tuple(videos[id_] for id_ in ids)) for name, ids in sorted(found["plan"].items())]


def read_dataset_file(output: str) -> dict[str, Any] | None:
    """Read ``dataset.json``; None if the set is not finished.

    Raises:
        UserError: If it was written in another format.
    """
    path = storage.join(output, DATASET_FILE)
    if not storage.exists(path):
        return None
    try:
        plain: dict[str, Any] = json.loads(storage.read_bytes(path))
        version = plain["format"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: not a dataset.json of this program.") from None
    if version != FORMAT_VERSION:
        raise UserError(f"{path}: format {version}, this version reads {FORMAT_VERSION}. Extract the set again.")
    return plain


def is_finished(output: str, rows: Sequence[ManifestRow], shards: Sequence[PlannedShard]) -> bool:
    """Whether ``output`` holds the finished set of a claimed plan, with the manifest's present files and labels.

    Shards are known by name and size; `kinebert verify` reads them.
    """
    plain = read_dataset_file(output)
    if plain is None or plain["labels"] != labels_digest(rows):
        return False
    if [shard["files"] for shard in plain["shards"]] != [shard.files_digest() for shard in shards]:
        return False
    if not {shard.name for shard in shards} | {INDEX_FILE} <= set(storage.list_files(output)):
        return False
    return all(storage.file_size(storage.join(output, shard["name"])) == shard["bytes"] for shard in plain["shards"])


def finish_set(
    output: str, recipe: FrameRecipe, rows: Sequence[ManifestRow], summaries: Sequence[ShardSummary]
) -> dict[str, Any]:
    """Write ``index.parquet`` and then ``dataset.json``, which says that the set is complete; return the latter."""
    by_id = {row.video_id: row for row in rows}
    shards = sorted(summaries, key=lambda shard: shard.name)
    entries = sorted(
        ((video, shard.name) for shard in shards for video in shard.videos), key=lambda entry: entry[0].video_id
    )
    assert [video.video_id for video, _ in entries] == sorted(by_id), "every video of the manifest is in one shard"
    index, rejected = _index(entries, by_id), _rejected(entries, by_id)
    table = pa.Table.from_pylist(index, schema=INDEX)
    with (
        storage.explained(output, "finish the set"),
        storage.whole_file(storage.join(output, INDEX_FILE)) as path,
    ):
        pq.write_table(table, path)
    plain = {
        "format": FORMAT_VERSION,
        "modality": recipe.modality,
        "recipe": recipe.plain(),
        "digest": recipe.digest(),
        "content": content_digest([shard.sha256 for shard in shards], index),
        "labels": labels_digest(rows),
        "classes": _classes(rows),
        "counts": {
            "videos": len(rows),
            "stored": len(index),
            "rejected": len(rejected),
            "truncated": sum(bool(entry["truncated"]) for entry in index),
            "frames": sum(video.num_frames for video, _ in entries),
            "images": sum(video.num_images for video, _ in entries),
            "bytes": sum(shard.num_bytes for shard in shards),
            "shards": len(shards),
        },
        "shards": [
            {"name": shard.name, "bytes": shard.num_bytes, "sha256": shard.sha256, "files": shard.files}
            for shard in shards
        ],
        "rejected": rejected,
        **_flow(recipe, shards),
    }
    text = f"{json_text(plain, indent=2, sort_keys=True)}\n"
    with storage.explained(output, "finish the set"):
        storage.write_bytes(storage.join(output, DATASET_FILE), text.encode())
        forget_digests(output)
    return plain


def _flow(recipe: FrameRecipe, shards: Sequence[ShardSummary]) -> dict[str, Any]:
    """What is said of flow beyond its recipe: the preset that its parameters are, and who solved how many fields."""
    if not isinstance(recipe, FlowRecipe):
        return {}
    solvers: dict[str, int] = {}
    for shard in shards:
        name = shard.solver or "unknown"
        solvers[name] = solvers.get(name, 0) + sum(video.num_images for video in shard.videos)
    return {"flow": {"preset": preset_of(recipe.tvl1), "solvers": solvers}}


def describe_flow(dataset: Mapping[str, Any]) -> str | None:
    """One line for people on who solved the flow of a ``dataset.json``; None if there is nothing to say."""
    flow = dataset.get("flow")
    if flow is None:
        return None
    solvers = ", ".join(f"{name} ({count} fields)" for name, count in sorted(flow["solvers"].items()))
    return f"TV-L1, {f'preset {name}' if (name := flow['preset']) else 'own parameters'}, solved by {solvers}"


def _index(entries: Sequence[tuple[VideoSummary, str]], by_id: Mapping[str, ManifestRow]) -> list[dict[str, Any]]:
    """Rows of ``index.parquet``: the videos that are stored, with the shard that each lies in."""
    return [
        {
            "video_id": video.video_id,
            "label": by_id[video.video_id].label,
            "label_name": by_id[video.video_id].label_name,
            "splits": sorted(by_id[video.video_id].splits.items()),
            "shard": shard,
            "first_row_group": video.first_row_group,
            "num_row_groups": video.num_row_groups,
            "num_frames": video.num_frames,
            "num_images": video.num_images,
            "width": video.width,
            "height": video.height,
            "truncated": video.truncated,
            "problem": video.problem,
        }
        for video, shard in entries
        if not video.rejected
    ]


def _rejected(entries: Sequence[tuple[VideoSummary, str]], by_id: Mapping[str, ManifestRow]) -> list[dict[str, Any]]:
    """The videos that were left out, and why."""
    return [
        {
            "video_id": video.video_id,
            "label": by_id[video.video_id].label,
            "label_name": by_id[video.video_id].label_name,
            "splits": dict(sorted(by_id[video.video_id].splits.items())),
            "problem": video.problem,
        }
        for video, _ in entries
        if video.rejected
    ]


def content_digest(sha256s: Sequence[str], index: Sequence[Mapping[str, Any]]) -> str:
    """Digest of every byte of a set: of its shards' digests, and the rows of its index."""
    return digest(list(sha256s), [{**row, "splits": sorted(dict(row["splits"]).items())} for row in index])


def labels_digest(rows: Sequence[ManifestRow]) -> str:
    """Digest of what a manifest says beyond the pixels: labels and splits."""
    return digest([[r.video_id, r.label, r.label_name, sorted(r.splits.items())] for r in rows])


def _classes(rows: Sequence[ManifestRow]) -> list[str]:
    names = {row.label: row.label_name for row in rows if row.label >= 0}
    return [names.get(label, "") for label in range(max(names, default=-1) + 1)]
