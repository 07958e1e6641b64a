"""Make the manifest, the table of all videos that every other program starts from.

kinebert index folder videos/ --output manifest.parquet
ray job submit --working-dir . -- python pipelines/index_videos.py folder /data/videos --output /data/manifest.parquet
"""

import shlex
import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Annotated

import tyro

from kinebert.orchestration.audience import Terminal
from kinebert.orchestration.jobs.indexing import Index, index
from kinebert.orchestration.jobs.requests import TEST_SHARE, VAL_SHARE, IndexRequest
from kinebert.orchestration.printing import Table, say
from kinebert.pipelines.options import run
from kinebert.preprocessing.datasets.indexing import split_table
from kinebert.preprocessing.datasets.listing import Finding
from kinebert.preprocessing.datasets.manifest import PARTS, name_some
from kinebert.preprocessing.datasets.registry import sources
from kinebert.preprocessing.datasets.split_counts import PartCounts
from kinebert.preprocessing.extraction.guard import MAX_PIXELS

_SPLIT_HINT = "(default: split1 where the source has no splits, else none)"
_STREAM_HINT = "(default: the one marked default, else the largest)"
_GROUP_HINT = "(default: the groups that the source names)"
_MOST_CLASSES = 12
"""Classes up to which each has a line in the table; of more, the rarest ones have."""
_RAREST = 3


if TYPE_CHECKING:
    Source = str
else:
    Source = tyro.extras.literal_type_from_choices([reader.name for reader in sources()])


def _listed(names: Sequence[str]) -> str:
    """``a, b or c``."""
    return f"{', '.join(names[:-1])} or {names[-1]}"


@dataclass(frozen=True, kw_only=True)
class IndexConfig(IndexRequest):
    """List the videos of a data set, look into each file once, and write the manifest that all other programs read.

    SOURCE says what the data set is, and so what PATHS are:

    {sources}

    Official splits are called split1, split2, split3. A source without splits is given one, called split1.

    Ends with status 0 when done, 1 if too many videos cannot be used, 2 if the command or a list is wrong.
    """

    source: Annotated[
        tyro.conf.Positional[Source],
        tyro.conf.arg(metavar="SOURCE", help=_listed([reader.name for reader in sources()]) + "."),
    ]
    paths: Annotated[
        tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="PATH [PATH ...]", help_behavior_hint="")
    ]
    """Videos and lists, as above: local paths or URIs (s3://, gs://)."""
    output: Annotated[str, tyro.conf.arg(metavar="FILE")]
    """The manifest to write (Parquet). One that is there is replaced."""
    split_name: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint=_SPLIT_HINT)] = None
    """Make a random split of this name that keeps classes in proportion and groups together."""
    val: Annotated[float | None, tyro.conf.arg(metavar="SHARE", help_behavior_hint=f"(default: {VAL_SHARE})")] = None
    """Share of validation videos in the random split, 0 to 1."""
    test: Annotated[float | None, tyro.conf.arg(metavar="SHARE", help_behavior_hint=f"(default: {TEST_SHARE})")] = None
    """Share of test videos in the random split, 0 to 1."""
    seed: Annotated[int, tyro.conf.arg(metavar="NUMBER")] = 0
    """Another number gives another random split."""
    group_regex: Annotated[str | None, tyro.conf.arg(metavar="REGEX", help_behavior_hint=_GROUP_HINT)] = None
    """Regular expression for the part of a video's id (its path without extension) that names its recording, such as
    'set[12]_seq[0-9]+'. The random split keeps clips of one recording together."""
    same_content: bool = False
    """Take files with the same bytes for one recording, wherever they lie; reads those of equal size as a whole. Links
    to a file are that file anyway."""
    max_problems: Annotated[float, tyro.conf.arg(metavar="SHARE")] = 0.01
    """Largest share of videos that may be unusable before the status is 1, 0 to 1."""
    timeout_s: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 60.0
    """Longest that looking into one file may take."""
    num_workers: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: one per core)")] = None
    """Files to look into at once."""
    video_stream: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint=_STREAM_HINT)] = None
    """Which video stream of files that have several to look into, from 0; cover pictures are none. Give extract-frames
    and extract-flow the same number."""
    max_pixels: Annotated[int, tyro.conf.arg(metavar="N")] = MAX_PIXELS
    """Most pixels of one picture; videos of larger ones cannot be used."""


_BY_SOURCE = "\n\n".join(
    textwrap.fill(f"{reader.name} {reader.paths}: {reader.about}.", 116, break_on_hyphens=False) for reader in sources()
)
IndexConfig.__doc__ = (IndexConfig.__doc__ or "").replace("    {sources}", textwrap.indent(_BY_SOURCE, "    "))


def main(config: IndexConfig) -> int:
    """Write the manifest, say what is in it, and return the exit status."""
    result = index(config, Terminal())
    say(*_summary(result), _verdict(result, config.output))
    return 1 if result.failed else 0


def _summary(result: Index) -> list[str | Table]:
    rows = result.rows
    num_classes = len({row.label for row in rows if row.label >= 0})
    size_mb = sum({row.path: row.bytes for row in rows}.values()) / 1e6
    lines: list[str | Table] = [f"{result.manifest}: {len(rows)} videos, {num_classes} classes, {size_mb:,.1f} MB"]
    segments = [row.path for row in rows if row.interval is not None]
    if segments:
        files = len(set(segments))
        lines.append(f"  {len(segments)} of them are segments of {files} file{'s'[: files != 1]}")
    if any(row.splits for row in rows):
        lines.append(_split_table(result))
    problems = [Finding(row.problem, row.video_id) for row in rows if row.problem is not None]
    lines += _counted("Cannot be used:", problems)
    lines += _counted("To know:", result.findings)
    if result.warnings:
        lines += ["Warnings:", *(f"  {warning.text}" for warning in result.warnings)]
    return lines


def _split_table(result: Index) -> Table:
    """Videos of each part by split; below them groups and classes of those that can be used."""
    columns = [*PARTS, "unused"]
    rows = []
    for split, sizes in split_table(result.rows).items():
        rows.append([split, *(str(sizes[column]) for column in columns)])
        parts = {counts.part: counts for counts in result.parts if counts.split == split}
        rows += [
            [f"  {name}", *(str(of[part]) if part in of else "" for part in columns)] for name, of in _part_rows(parts)
        ]
    return Table(header=["split", *columns], rows=rows, indent=2)


def _part_rows(parts: Mapping[str, PartCounts]) -> list[tuple[str, dict[str, object]]]:
    """Rows of a split's table: a name, and what stands under each part."""
    if not parts:
        return []
    per_class = {part: [num for num in counts.classes.values() if num] for part, counts in parts.items()}
    rows: list[tuple[str, dict[str, object]]] = [
        ("groups", {part: counts.num_groups for part, counts in parts.items()}),
        ("classes", {part: len(nums) for part, nums in per_class.items()}),
    ]
    known = next(iter(parts.values())).classes
    totals = {name: sum(counts.classes[name] for counts in parts.values()) for name in known}
    names, about = [name for name in known if totals[name]], ""
    if len(names) > _MOST_CLASSES:
        for what, number in (("fewest of a class", min), ("median of a class", median), ("most of a class", max)):
            rows.append((what, {part: f"{number(nums):g}" for part, nums in per_class.items()}))
        names, about = sorted(names, key=totals.__getitem__)[:_RAREST], "rarest: "
    return rows + [(about + name, {part: counts.classes[name] for part, counts in parts.items()}) for name in names]


def _counted(title: str, findings: Iterable[Finding]) -> list[str]:
    """One line per kind: how many, and the first few."""
    names = defaultdict(list)
    for finding in findings:
        names[finding.kind].append(finding.name)
    lines = [f"  {kind}: {len(listed)}: {name_some(listed, 3)}" for kind, listed in sorted(names.items())]
    return [title, *lines] if lines else []


def _verdict(result: Index, given: str) -> str:
    num_problems, num_videos = result.num_problems, len(result.rows)
    share = f"{num_problems} of {num_videos} videos ({num_problems / num_videos:.1%}) cannot be used"
    if result.failed:
        return (
            f"FAILED: {share}, more than --max-problems {result.max_problems:g} allows. Mend the files or the lists "
            "and run this again. The manifest is written; later programs leave these videos out."
        )
    done = f"Done: {share}." if num_problems else "Done: all videos can be used."
    size = "--width 171 --height 128"  # as the README has it, for networks of 112 pixels
    return f"{done} Next: kinebert extract-frames --manifest {shlex.quote(given)} --output sets/rgb {size}"


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, IndexConfig, args, "kinebert index", from_file=True)


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
