"""Score the videos of a split with a trained recognizer.

kinebert evaluate runs/rgb/best.pt --part test --views multi
"""

import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from kinebert.orchestration.audience import Terminal
from kinebert.orchestration.jobs.requests import EvaluationRequest
from kinebert.orchestration.printing import Table, say
from kinebert.pipelines.options import NOT_RECORDED, run

if TYPE_CHECKING:
    from kinebert.orchestration.jobs.evaluation import Evaluation


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(EvaluationRequest):
    """Score every video of one part of a split with a trained recognizer.

    The scores of every view are kept as Parquet, for `kinebert average`, and those per video for `kinebert fuse`; a
    report is written beside them, and the numbers go to the MLflow run of the training. Several checkpoints, one per
    official split, end in the mean over the splits.
    """

    checkpoints: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="CHECKPOINT...")]
    """best.pt of a training (path or URI), or of one training per split."""


def main(config: EvaluateConfig) -> int:
    """Score, say what came of each checkpoint, and return the exit status."""
    from kinebert.orchestration.jobs.evaluation import evaluate  # slow imports, after the options are known to be right
    from kinebert.orchestration.reports.accuracies import split_table

    found = []
    for one in evaluate(config, Terminal()):
        say(*_told(one))
        found.append(one)
    by_folder = {one.folder: one.scores for one in found}
    if len(by_folder) > 1:
        say(split_table(list(by_folder.values())))
    tables = " ".join(shlex.quote(one.table) for one in found)
    say(f"next: kinebert fuse {tables} OTHER/scores.parquet" if len(found) == 1 else f"scores: {tables}")
    return 0 if all(one.recorded for one in found) else NOT_RECORDED


def _told(one: "Evaluation") -> list[str | Table]:
    from kinebert.orchestration.reports.accuracies import accuracy_table, rejected_lines

    lines: list[str | Table] = [accuracy_table({one.modality: one.scores}), *rejected_lines(one.scores)]
    lines.append(f"views: {one.protocol.describe()}")
    if one.by_clip.num_videos > len(one.scores.video_ids):
        lines.append(f"each clip by itself: top-1 {one.by_clip.top[1]:.1%} of {one.by_clip.num_videos} clips")
    return [*lines, *(f"note: {note}" for note in one.notes), f"scores: {one.table}", f"report: {one.report}"]


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, EvaluateConfig, args, "kinebert evaluate")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
