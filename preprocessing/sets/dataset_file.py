"""What ``dataset.json`` says of a finished set, and ``.claim.json`` of one that is being made."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from kinebert.preprocessing import storage
from kinebert.preprocessing.checked.documents import as_document, parse_json, read_document, refused
from kinebert.preprocessing.checked.values import Between, Count
from kinebert.preprocessing.config import digest
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.modalities import modality_of
from kinebert.preprocessing.schema import FORMAT_VERSION

CLAIM, INDEX_FILE, DATASET_FILE = ".claim.json", "index.parquet", "dataset.json"
Label = Annotated[int, Between(-1, 2**31 - 1)]
"""Class index, -1 where the class is not known."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Whose a folder is while shards come to lie in it."""

    recipe: dict[str, Any]
    """All that changes pixels, plain."""
    plan: dict[str, list[str]]
    """Ids of the videos of each shard, by its name."""

    def __post_init__(self) -> None:
        _check_names(list(self.plan))


@dataclass(frozen=True, kw_only=True)
class ShardFacts:
    """One shard of a finished set."""

    name: str
    """Of its file."""
    bytes: Count
    """Size of its file."""
    sha256: str
    """Of its bytes."""
    files: str
    """Digest of the files that it was made from, see :meth:`.PlannedShard.files_digest`."""
    sources: str | None = None
    """Digest of their fingerprints, see :meth:`.PlannedShard.sources_digest`; None where they were not known."""


@dataclass(frozen=True)
class RejectedVideo:
    """One video that was left out, and why."""

    video_id: str
    label: Label
    label_name: str
    splits: dict[str, str]
    problem: str


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How much a finished set holds."""

    videos: Count
    """In the manifest."""
    stored: Count
    """Videos."""
    rejected: Count
    """Videos."""
    truncated: Count
    """Stored videos whose decoding ended with an error."""
    frames: Count
    images: Count
    """Frames, or flow fields."""
    bytes: Count
    """Of all shards."""
    shards: Count
    repeated: Count | None = None
    """Frames that repeat the one before, see :mod:`.still_frames`, not among ``frames`` if the recipe drops them; None
    where they were not counted."""
    near_still: Count | None = None
    """Other frames that are nearly still."""


@dataclass(frozen=True, kw_only=True)
class FlowFacts:
    """What is said of flow beyond its recipe."""

    preset: str | None
    """Name of the preset that its parameters are; None for own ones."""
    solvers: dict[str, Count]
    """Fields by who solved them: library and version."""


@dataclass(frozen=True, kw_only=True)
class PoseFacts:
    """What is said of poses that were looked for, beyond their recipe."""

    solvers: dict[str, Count]
    """Frames by who looked at them: library and version."""


@dataclass(frozen=True, kw_only=True)
class DatasetFile:
    """What ``dataset.json`` says of a finished set."""

    format: int
    modality: str
    recipe: dict[str, Any]
    """All that changes pixels, plain."""
    digest: str
    """Of the recipe: sets that share it were made in the same way."""
    content: str
    """Of every shard's bytes and the index: sets that share it are the same."""
    labels: str
    """Of the manifest's labels and splits."""
    classes: list[str]
    """Names by label."""
    counts: Counts
    shards: list[ShardFacts]
    rejected: list[RejectedVideo]
    flow: FlowFacts | None = field(default=None)
    """None for frames, and flow of versions that did not record it."""
    index: str | None = field(default=None)
    """Of the bytes of the index, beside ``content``, see :func:`.index_digest`; None in sets of earlier versions."""
    poses: PoseFacts | None = field(default=None)
    """None where no people were looked for."""

    def __post_init__(self) -> None:
        modality_of(self.modality)
        _check_names([shard.name for shard in self.shards])

    def plain(self) -> dict[str, Any]:
        """Return it as plain values, as the file has them."""
        values = dataclasses.asdict(self)
        values["shards"] = [_without(shard, "sources") for shard in values["shards"]]
        values["counts"] = _without(_without(values["counts"], "repeated"), "near_still")
        return _without(_without(_without(values, "flow"), "index"), "poses")

    @property
    def solvers(self) -> dict[str, int]:
        """How many flow fields or pictures of poses each solver (library and version) has made; empty for frames."""
        facts = self.flow or self.poses
        return dict(facts.solvers) if facts else {}

    def check_recipe(self, uri: str) -> None:
        """Raise a ConfigError unless the recipe has the digest that stands beside it, in the set at ``uri``."""
        if digest(self.recipe) != self.digest:
            reason = f"its recipe is not the one that it was written with ({digest(self.recipe)}, not {self.digest})."
            raise refused(storage.join(uri, DATASET_FILE), _WHAT, _REMEDY, reason)


def _without(values: dict[str, Any], key: str) -> dict[str, Any]:
    """Leave out a key that says nothing."""
    return {name: value for name, value in values.items() if name != key or value is not None}


_WHAT = f"a {DATASET_FILE} of this program"
_REMEDY = "Delete it and extract again: finished shards are kept."


def index_digest(content: str, shards: Sequence[ShardFacts], index_sha256: str) -> str:
    """Return twelve characters by which an index is known again without looking at its rows.

    Args:
        content: Digest of the shards and of those rows.
        shards: Of the set.
        index_sha256: Of the bytes of ``index.parquet``.
    """
    return digest(content, [shard.sha256 for shard in shards], index_sha256)


def read_dataset_file(output: str) -> DatasetFile | None:
    """Read ``dataset.json``; None if the set is not finished.

    Raises:
        UserError: If it was written in another format, is damaged, or says something else than a :class:`DatasetFile`.
    """
    path = storage.join(output, DATASET_FILE)
    if not storage.exists(path):
        return None
    plain = parse_json(storage.read_bytes(path), path, _WHAT, _REMEDY)
    version = plain.get("format") if isinstance(plain, dict) else None
    if type(version) is int and version != FORMAT_VERSION:
        raise UserError(f"{path}: format {version}, this version reads {FORMAT_VERSION}. Extract the set again.")
    return as_document(DatasetFile, plain, path, _WHAT, _REMEDY)


def read_claim(output: str) -> Claim:
    """Read ``.claim.json``.

    Raises:
        ConfigError: If it is damaged, or says something else than a :class:`Claim`.
    """
    path = storage.join(output, CLAIM)
    return read_document(Claim, path, "a claim of this version", "Choose another output folder.")


def _check_names(names: list[str]) -> None:
    for name, count in Counter(names).items():
        if not name.endswith(".parquet") or "/" in name or "\\" in name or count > 1:
            raise ConfigError(f"the shard {name!r} is no file of the set, or there twice.")
