"""Indexing as a job: list the videos of a data set, look into each file once, and write the manifest."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from kinebert.orchestration.audience import NOBODY, Audience, Line
from kinebert.orchestration.jobs.requests import TEST_SHARE, VAL_SHARE, IndexRequest
from kinebert.orchestration.progress import time_left
from kinebert.orchestration.tracking.legal_names import check_apart
from kinebert.preprocessing.datasets import READERS
from kinebert.preprocessing.datasets.indexing import (
    groups_of,
    manifest_rows,
    segments_beyond,
    several_streams,
)
from kinebert.preprocessing.datasets.listing import Finding, Listing
from kinebert.preprocessing.datasets.manifest import ManifestRow, check_ids, write_manifest
from kinebert.preprocessing.datasets.same_files import file_findings, same_files
from kinebert.preprocessing.datasets.split_counts import Caution, PartCounts, cautions, count_parts, divided_groups
from kinebert.preprocessing.datasets.splits import make_split
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.storage import check_writable, is_folder, resolve_uri
from kinebert.preprocessing.video.probe import Facts, probe_videos


@dataclass(frozen=True)
class Index:
    """A manifest that was written."""

    manifest: str
    """Path or URI of the file."""
    rows: tuple[ManifestRow, ...]
    """One for each video, those that cannot be used among them."""
    findings: tuple[Finding, ...]
    """What is worth to know of lists and files."""
    parts: tuple[PartCounts, ...]
    """What every part of every split holds, of videos that can be used."""
    warnings: tuple[Caution, ...]
    """What makes results on these splits worth less than they seem."""
    max_problems: float
    """Largest share of unusable videos that was allowed."""

    @property
    def num_problems(self) -> int:
        """Videos that cannot be used."""
        return sum(row.problem is not None for row in self.rows)

    @property
    def failed(self) -> bool:
        """Whether more videos cannot be used than is allowed."""
        return self.num_problems > self.max_problems * len(self.rows)


def index(request: IndexRequest, audience: Audience = NOBODY) -> Index:
    """Write the manifest of a data set.

    Raises:
        UserError: If a folder or list is not there or wrong, there is no video, or the file cannot be written.
        ConfigError: If no such split can be made.
    """
    if request.source not in READERS:
        raise ConfigError(f"source must be {', '.join(READERS)}, got {request.source!r}.")
    output = resolve_uri(request.output)
    listing = READERS[request.source]([resolve_uri(path) for path in request.paths])
    check_ids([video.video_id for video in listing.videos])
    same = same_files(listing.videos, request.same_content)
    groups = groups_of(listing.videos, request.group_regex, same)
    splits, findings = _seeded_split(request, listing, groups)
    check_apart({*splits, *(name for video in listing.videos for name in video.splits)}, "splits")
    if is_folder(output):
        raise UserError(f"{output}: this is a folder; give the name of a file in it, such as manifest.parquet.")
    check_writable(output.rpartition("/")[0] or "/")
    paths = list(dict.fromkeys(video.path for video in listing.videos))  # a file of many segments is looked into once
    by_path = dict(zip(paths, _probe(paths, request, audience.line()), strict=True))
    facts = [by_path[video.path] for video in listing.videos]
    rows = manifest_rows(listing, groups, splits, facts)
    write_manifest(output, rows)
    findings += [*listing.findings, *file_findings(same), *several_streams(listing, facts, request.video_stream)]
    findings += segments_beyond(rows)
    parts = count_parts(rows)
    return Index(
        manifest=output,
        rows=tuple(rows),
        findings=tuple(findings),
        parts=tuple(parts),
        warnings=(*divided_groups(rows), *cautions(parts)),
        max_problems=request.max_problems,
    )


def _seeded_split(
    request: IndexRequest, listing: Listing, groups: dict[str, str]
) -> tuple[dict[str, dict[str, str]], list[Finding]]:
    """The split that was asked for, or that the source lacks; empty where there is nothing to make."""
    official = sorted({name for video in listing.videos for name in video.splits})
    asked = request.split_name is not None or request.val is not None or request.test is not None
    if official and not asked:
        return {}, []
    if official and request.split_name in (None, *official):
        raise ConfigError(
            f"this source has the splits {', '.join(official)}; give the one to make another name with --split-name."
        )
    name = request.split_name or "split1"
    taken = next((other for other in listing.other_columns if other.casefold() == name.casefold()), None)
    if taken is not None:
        raise ConfigError(
            f"the lists have a column {taken!r}, which is no split; give the one to make another name (--split-name)."
        )
    val, test = (
        given if given is not None else usual for given, usual in ((request.val, VAL_SHARE), (request.test, TEST_SHARE))
    )
    if val + test > 1:
        raise ConfigError(f"--val {val:g} and --test {test:g} leave nothing to train on.")
    labels = {video.video_id: video.label_name for video in listing.videos if video.label_name}
    try:
        split = make_split(labels, groups, {"train": 1 - val - test, "val": val, "test": test}, request.seed)
        said = [] if asked else [Finding("split made at random, as the source tells none", name)]
        return {name: split}, said
    except ConfigError as error:
        if asked:
            raise
        return {}, [Finding("no split was made", str(error))]


def _probe(paths: Sequence[str], request: IndexRequest, line: Line) -> list[Facts]:
    begin = news = time.monotonic()
    known = 0

    def text(done: int, total: int) -> str:
        nonlocal news, known
        now = time.monotonic()
        news, known = (now, done) if done != known else (news, known)
        spent = now - begin
        left = f", {time_left(spent, done, total - done, now - news)} left" if 0 < done < total else ""
        return f"looked into {done} of {total} videos, {done / max(spent, 1e-9):.0f} per second{left}"

    facts = probe_videos(
        paths,
        num_workers=request.num_workers,
        timeout_s=request.timeout_s,
        on_progress=lambda done, total: line.show(lambda: text(done, total)),
        video_stream=request.video_stream,
        max_pixels=request.max_pixels,
    )
    line.close(text(len(paths), len(paths)))
    return facts
