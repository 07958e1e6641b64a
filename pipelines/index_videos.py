"""Make the manifest, the table of all videos that every other program starts from.

kinebert index folder videos/ --output manifest.parquet
ray job submit --working-dir . -- python pipelines/index_videos.py folder /data/videos --output /data/manifest.parquet
"""

import shlex
import sys
import textwrap
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from kinebert.orchestration.printing import Table, say
from kinebert.orchestration.progress import ProgressLine, duration
from kinebert.pipelines.options import run
from kinebert.preprocessing.datasets import READERS
from kinebert.preprocessing.datasets.indexing import groups_of, manifest_rows, split_table, uneven_splits
from kinebert.preprocessing.datasets.listing import Finding, Listing
from kinebert.preprocessing.datasets.manifest import PARTS, ManifestRow, check_ids, name_some, write_manifest
from kinebert.preprocessing.datasets.registry import sources
from kinebert.preprocessing.datasets.splits import make_split
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.storage import check_writable, is_folder, resolve_uri
from kinebert.preprocessing.video.probe import Facts, probe_videos

_VAL, _TEST = 0.1, 0.2
_SPLIT_HINT = "(default: split1 where the source has no splits, else none)"
_GROUP_HINT = "(default: the groups that the source names)"


if TYPE_CHECKING:
    Source = str
else:
    Source = tyro.extras.literal_type_from_choices([reader.name for reader in sources()])


def _listed(names: Sequence[str]) -> str:
    """``a, b or c``."""
    return f"{', '.join(names[:-1])} or {names[-1]}"


@dataclass(frozen=True, kw_only=True)
class IndexConfig:
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
    val: Annotated[float | None, tyro.conf.arg(metavar="SHARE", help_behavior_hint=f"(default: {_VAL})")] = None
    """Share of validation videos in the random split, 0 to 1."""
    test: Annotated[float | None, tyro.conf.arg(metavar="SHARE", help_behavior_hint=f"(default: {_TEST})")] = None
    """Share of test videos in the random split, 0 to 1."""
    seed: Annotated[int, tyro.conf.arg(metavar="NUMBER")] = 0
    """Another number gives another random split."""
    group_regex: Annotated[str | None, tyro.conf.arg(metavar="REGEX", help_behavior_hint=_GROUP_HINT)] = None
    """Regular expression for the part of a video's id (its path without extension) that names its recording, such as
    'set[12]_seq[0-9]+'. The random split keeps clips of one recording together."""
    max_problems: Annotated[float, tyro.conf.arg(metavar="SHARE")] = 0.01
    """Largest share of videos that may be unusable before the status is 1, 0 to 1."""
    timeout_s: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 60.0
    """Longest that looking into one file may take."""
    num_workers: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: one per core)")] = None
    """Files to look into at once."""


_BY_SOURCE = "\n\n".join(
    textwrap.fill(f"{reader.name} {reader.paths}: {reader.about}.", 116, break_on_hyphens=False) for reader in sources()
)
IndexConfig.__doc__ = (IndexConfig.__doc__ or "").replace("    {sources}", textwrap.indent(_BY_SOURCE, "    "))


def main(config: IndexConfig) -> int:
    """Write the manifest, say what is in it, and return the exit status."""
    _check(config)
    output = resolve_uri(config.output)
    listing = READERS[config.source]([resolve_uri(path) for path in config.paths])
    check_ids([video.video_id for video in listing.videos])
    groups = groups_of(listing.videos, config.group_regex)
    splits, findings = _seeded_split(config, listing, groups)
    if is_folder(output):
        raise UserError(f"{output}: this is a folder; give the name of a file in it, such as manifest.parquet.")
    check_writable(output.rpartition("/")[0] or "/")
    facts = _probe([video.path for video in listing.videos], config)
    rows = manifest_rows(listing, groups, splits, facts)
    write_manifest(output, rows)
    findings += listing.findings + uneven_splits(rows)
    num_problems = sum(row.problem is not None for row in rows)
    failed = num_problems > config.max_problems * len(rows)
    say(*_summary(output, rows, findings), _verdict(config, num_problems, len(rows), failed))
    return 1 if failed else 0


def _check(config: IndexConfig) -> None:
    for name, share in (("val", config.val), ("test", config.test), ("max-problems", config.max_problems)):
        if share is not None and not 0 <= share <= 1:
            raise ConfigError(f"--{name} is a share from 0 to 1, got {share:g}.")
    if config.timeout_s <= 0 or (config.num_workers is not None and config.num_workers < 1):
        raise ConfigError("--timeout-s and --num-workers must be positive.")
    if config.split_name == "":
        raise ConfigError("--split-name needs a name.")


def _seeded_split(
    config: IndexConfig, listing: Listing, groups: dict[str, str]
) -> tuple[dict[str, dict[str, str]], list[Finding]]:
    """The split that was asked for, or that the source lacks; empty where there is nothing to make."""
    official = sorted({name for video in listing.videos for name in video.splits})
    asked = config.split_name is not None or config.val is not None or config.test is not None
    if official and not asked:
        return {}, []
    if official and config.split_name in (None, *official):
        raise ConfigError(
            f"this source has the splits {', '.join(official)}; give the one to make another name with --split-name."
        )
    val, test = (given if given is not None else usual for given, usual in ((config.val, _VAL), (config.test, _TEST)))
    if val + test > 1:
        raise ConfigError(f"--val {val:g} and --test {test:g} leave nothing to train on.")
    labels = {video.video_id: video.label_name for video in listing.videos if video.label_name}
    name = config.split_name or "split1"
    try:
        return {name: make_split(labels, groups, {"train": 1 - val - test, "val": val, "test": test}, config.seed)}, []
    except ConfigError as error:
        if asked:
            raise
        return {}, [Finding("no split was made", str(error))]


def _probe(paths: Sequence[str], config: IndexConfig) -> list[Facts]:
    begin = time.monotonic()
    line = ProgressLine()

    def text(done: int, total: int) -> str:
        spent = time.monotonic() - begin
        left = f", {duration(spent / done * (total - done))} left" if 0 < done < total else ""
        return f"looked into {done} of {total} videos, {done / max(spent, 1e-9):.0f} per second{left}"

    facts = probe_videos(
        paths,
        num_workers=config.num_workers,
        timeout_s=config.timeout_s,
        on_progress=lambda done, total: line.show(lambda: text(done, total)),
    )
    line.close(text(len(paths), len(paths)))
    return facts


def _summary(output: str, rows: Sequence[ManifestRow], findings: Iterable[Finding]) -> list[str | Table]:
    num_classes = len({row.label for row in rows if row.label >= 0})
    size_mb = sum(row.bytes for row in rows) / 1e6
    lines: list[str | Table] = [f"{output}: {len(rows)} videos, {num_classes} classes, {size_mb:,.1f} MB"]
    table = split_table(rows)
    if table:
        columns = [*PARTS, "unused"]
        counts = [[name, *(str(num[column]) for column in columns)] for name, num in table.items()]
        lines.append(Table(header=["split", *columns], rows=counts, indent=2))
    problems = [Finding(row.problem, row.video_id) for row in rows if row.problem is not None]
    lines += _counted("Cannot be used:", problems)
    lines += _counted("To know:", findings)
    return lines


def _counted(title: str, findings: Iterable[Finding]) -> list[str]:
    """One line per kind: how many, and the first few."""
    names = defaultdict(list)
    for finding in findings:
        names[finding.kind].append(finding.name)
    lines = [f"  {kind}: {len(listed)}: {name_some(listed, 3)}" for kind, listed in sorted(names.items())]
    return [title, *lines] if lines else []


def _verdict(config: IndexConfig, num_problems: int, num_videos: int, failed: bool) -> str:
    share = f"{num_problems} of {num_videos} videos ({num_problems / num_videos:.1%}) cannot be used"
    if failed:
        return (
            f"FAILED: {share}, more than --max-problems {config.max_problems:g} allows. Mend the files or the lists "
            "and run this again. The manifest is written; later programs leave these videos out."
        )
    done = f"Done: {share}." if num_problems else "Done: all videos can be used."
    return f"{done} Next: kinebert extract-frames --manifest {shlex.quote(config.output)} --output sets/rgb"


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, IndexConfig, args, "kinebert index", from_file=True)


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
