"""Average stored scores anew, without running a model: over other views, in another way, or over the official splits.

kinebert average runs/rgb/split1-test-multi-x10/views.parquet --crops 0
kinebert average runs/split{1,2,3}/split*-test-multi/scores.parquet
"""

import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from kinebert.orchestration.jobs.requests import AveragingRequest
from kinebert.orchestration.printing import say
from kinebert.pipelines.options import run


@dataclass(frozen=True, kw_only=True)
class AverageConfig(AveragingRequest):
    """Average the stored scores of views anew, or take the mean over several splits.

    One views.parquet of `kinebert evaluate` gives new scores of videos and a report. Several tables (of views or of
    videos), one per split, give the mean of every metric over the splits, and nothing is written.
    """

    tables: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="TABLE...")]
    """views.parquet (or, for several splits, scores.parquet) of `kinebert evaluate` or `fuse`."""


def main(config: AverageConfig) -> int:
    """Average, say what came of it, and return the exit status."""
    from kinebert.orchestration.jobs.averaging import average_anew  # slow imports, after the quick refusals
    from kinebert.orchestration.reports.accuracies import accuracy_table, rejected_lines, split_table

    result = average_anew(config)
    if len(result.tables) > 1:
        say(split_table(result.tables))
        return 0
    (scores,) = result.tables
    say(accuracy_table({str(scores.about.get("modality")): scores}), *rejected_lines(scores))
    say(f"views: {scores.about.get('views')}, {scores.about['num_views']} of {len(scores.video_ids)} videos")
    say(f"scores: {result.table}")
    say(f"report: {result.report}")
    return 0


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, AverageConfig, args, "kinebert average")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
