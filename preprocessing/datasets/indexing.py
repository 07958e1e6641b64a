"""From what a reader lists to the rows of a manifest: groups, splits, and what a user should know of them."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict

from kinebert.preprocessing.datasets.listing import Finding, Listing, Video
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.datasets.same_files import one_group_each, same_files
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.video.probe import Facts

_HEADER_OFF_BY_S = 1.0
"""Seconds by which the length in a header may be wrong without a word; lists round as well."""


def groups_of(
    videos: Sequence[Video], pattern: str | None, same: Iterable[Sequence[Video]] | None = None
) -> dict[str, str]:
    """Group of each video: what ``pattern`` finds in its id, else what its data set says, else itself.

    Videos of one file have one group; what would be several becomes one.

    Args:
        videos: Videos with unique ids.
        pattern: Regular expression; its groups in parentheses count if it has some, else the whole match.
        same: Videos of each file that has several, as :func:`.same_files` finds them; by default by their places.

    Raises:
        ConfigError: If the expression is wrong, or fits no video.
    """
    groups = {video.video_id: video.group or video.video_id for video in videos}
    return one_group_each(groups | _matched(groups, pattern), same_files(videos) if same is None else same)


def _matched(ids: Collection[str], pattern: str | None) -> dict[str, str]:
    """What ``pattern`` finds, for the ids that it fits."""
    if pattern is None:
        return {}
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"--group-regex {pattern}: this is no regular expression: {error}.") from None
    matches = {video_id: match for video_id in ids if (match := expression.search(video_id))}
    if not matches:
        raise ConfigError(f"--group-regex {pattern}: it fits no video id; one is {min(ids)!r}.")
    return {
        video_id: "/".join(part or "" for part in match.groups()) or match[0] for video_id, match in matches.items()
    }


def manifest_rows(
    listing: Listing, groups: Mapping[str, str], extra_splits: Mapping[str, Mapping[str, str]], facts: Sequence[Facts]
) -> list[ManifestRow]:
    """Join what is known of each video; ``extra_splits`` gives the parts of videos by the name of the split."""
    return [
        ManifestRow(
            video_id=video.video_id,
            path=video.path,
            label=listing.labels.get(video.label_name, -1),
            label_name=video.label_name,
            group=groups[video.video_id],
            interval=video.interval,
            splits={
                **video.splits,
                **{name: split[video.video_id] for name, split in extra_splits.items() if video.video_id in split},
            },
            **{name: value for name, value in asdict(fact).items() if name != "num_streams"},
        )
        for video, fact in zip(listing.videos, facts, strict=True)
    ]


def several_streams(listing: Listing, facts: Sequence[Facts], video_stream: int | None) -> list[Finding]:
    """Videos whose files hold several video streams, and which of them is taken."""
    taken = "the default one, else the largest, is taken (--video-stream)" if video_stream is None else ""
    kind = f"several video streams: {taken or f'number {video_stream} is taken'}"
    return [
        Finding(kind, video.video_id)
        for video, fact in zip(listing.videos, facts, strict=True)
        if fact.num_streams > 1 and fact.problem is None
    ]


def segments_beyond(rows: Iterable[ManifestRow]) -> list[Finding]:
    """Segments that their files do not reach, by the lengths that their headers tell."""
    findings = []
    for row in rows:
        if row.interval is not None and row.problem is None and row.duration_s:
            length = row.duration_s * (row.fps if row.interval.unit == "frames" else 1.0)
            spare = _HEADER_OFF_BY_S * (row.fps if row.interval.unit == "frames" else 1.0)
            if length and row.interval.start >= length + spare:
                findings.append(Finding("segment that begins after the end of its file", row.video_id))
            elif length and (row.interval.end or 0.0) > length + spare:
                findings.append(Finding("segment that ends after the end of its file", row.video_id))
    return findings


def split_table(rows: Iterable[ManifestRow]) -> dict[str, Counter[str]]:
    """Number of videos of each part by split; videos that a split does not use count as ``unused``."""
    listed = list(rows)
    names = sorted({name for row in listed for name in row.splits})
    return {name: Counter(row.splits.get(name, "unused") for row in listed) for name in names}
