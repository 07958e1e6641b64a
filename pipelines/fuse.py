"""Combine the scores of several streams without running a model again.

kinebert fuse runs/rgb/split1-test-multi/scores.parquet runs/flow/split1-test-multi/scores.parquet --output fused
"""

import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from kinebert.orchestration.jobs.requests import FusionRequest
from kinebert.orchestration.printing import say
from kinebert.pipelines.options import NOT_RECORDED, run


@dataclass(frozen=True, kw_only=True)
class FuseConfig(FusionRequest):
    """Combine the scores of two or more streams, and measure every subset of them.

    Writes fused scores and a report, and one MLflow run for the result.
    """

    scores: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="SCORES...")]
    """scores.parquet files of `kinebert evaluate`, one per stream."""
    fit: Annotated[tuple[str, ...], tyro.conf.arg(metavar="SCORES...")] = ()
    """Scores of the same streams, in the same order, on a validation part: the weights best there are taken."""


def main(config: FuseConfig) -> int:
    """Fuse, say what came of it, and return the exit status."""
    from kinebert.orchestration.jobs.fusion import fuse  # slow imports, after the options are known to be right
    from kinebert.orchestration.reports.accuracies import accuracy_table, rejected_lines
    from kinebert.orchestration.tracking.store import page_command

    result = fuse(config)
    say(accuracy_table(result.measured))
    given = ", ".join(f"{name} {weight:g}" for name, weight in zip(result.streams, result.weights, strict=True))
    say(f"{result.about}; weights: {given}")
    say(*result.notes, *rejected_lines(result.scores))
    say(f"scores: {result.table}")
    say(f"report: {result.report}")
    say(f"next: {page_command(result.tracking_uri)}")
    return 0 if result.recorded else NOT_RECORDED


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, FuseConfig, args, "kinebert fuse")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
