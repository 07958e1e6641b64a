"""Put two or more runs side by side: what differs between them, and whether one is better by more than chance.

kinebert compare runs/rgb_tgap runs/rgb_bert
kinebert compare --experiment demo --tracking-uri demo/mlflow.db
"""

import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from kinebert.orchestration.jobs.requests import ComparisonRequest
from kinebert.orchestration.printing import say
from kinebert.pipelines.options import run


@dataclass(frozen=True, kw_only=True)
class CompareConfig(ComparisonRequest):
    """Put two or more runs side by side.

    Printed, and kept as CSV tables and one HTML page with pictures: what differs in recipes, data and tests; every
    metric with its interval; differences to the first run with their significance; classes and confusions. Runs whose
    numbers do not mean the same are shown, but not ranked, and the exit status is 1.
    """

    runs: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="RUN...")] = ()
    """Folders of trainings, scores.parquet files, or ids or names of MLflow runs; the first is the baseline. None
    takes all finished runs of --experiment, oldest first."""
    on: Annotated[str | None, tyro.conf.arg(metavar="EVALUATION")] = None
    """Which evaluation of the runs, such as split1-test-multi; by default the one that all of them have."""
    baseline: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Run of the comparison that the others are compared with, by its name there; by default the first."""


def main(config: CompareConfig) -> int:
    """Compare, say what was found, and return 0 if the runs were ranked, else 1."""
    from kinebert.orchestration.comparing import tables  # slow imports, after the options are known to be right
    from kinebert.orchestration.comparing.comparison import compare

    result = compare(config)
    say(*tables.terminal(result.verdict))
    say(f"page: {result.page}")
    say(f"tables: {', '.join(result.tables)} beside it")
    return 0 if result.verdict.ranked else 1


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, CompareConfig, args, "kinebert compare")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
