"""Average stored scores anew, without running a model: over other views, in another way, or over the official splits.

kinebert average runs/rgb/split1-test-multi-x10/views.parquet --crops 0
kinebert average runs/split{1,2,3}/split*-test-multi/scores.parquet
"""

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from kinebert.pipelines.options import run
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.storage import check_writable, join, resolve_uri
from kinebert.training.run_folder import METRICS_FILE, REPORT_FOLDER, SCORES_FILE

if TYPE_CHECKING:
    from kinebert.training.evaluation.evaluate import VideoScores


@dataclass(frozen=True, kw_only=True)
class AverageConfig:
    """Average the stored scores of views anew, or take the mean over several splits.

    One views.parquet of `kinebert evaluate` gives new scores of videos and a report. Several tables (of views or of
    videos), one per split, give the mean of every metric over the splits, and nothing is written.
    """

    tables: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="TABLE...")]
    """views.parquet (or, for several splits, scores.parquet) of `kinebert evaluate` or `fuse`."""
    average: Literal["logits", "softmax"] | None = None
    """What a video's score is the mean of; by default what the views were made for."""
    clips: tuple[int, ...] = ()
    """Numbers of the clips to take, from 0; by default all."""
    crops: tuple[int, ...] = ()
    """Numbers of the crops to take, from 0, the centre; by default all."""
    output: str = "averaged"
    """Folder for scores.parquet and the report, of one table."""


def main(config: AverageConfig) -> int:
    """Average, measure, report, and return the exit status."""
    if not config.tables:
        raise ConfigError("give a views.parquet of `kinebert evaluate`.")
    from kinebert.orchestration.reports import accuracies, metrics_file, publishing  # slow imports
    from kinebert.training.evaluation.evaluate import write_scores

    tables = [_read(resolve_uri(path), config) for path in config.tables]
    if len(tables) > 1:
        print("\n".join(accuracies.split_lines(tables)))
        return 0
    (scores,) = tables
    output = resolve_uri(config.output)
    check_writable(output)
    name = str(scores.about.get("modality"))
    path = join(output, SCORES_FILE)
    write_scores(path, scores)
    metrics_file.write_metrics(join(output, METRICS_FILE), scores)
    facts = {"views": str(scores.about.get("views")), "part": f"{scores.about['split']}/{scores.about['part']}"}
    title = f"{os.path.basename(output)}: {facts['part']}, {facts['views']}"
    report = publishing.publish_report(
        join(output, REPORT_FOLDER), publishing.report_data(title, {name: scores}, facts), None, "report"
    )
    print("\n".join([*accuracies.accuracy_lines({name: scores}), *accuracies.rejected_lines(scores)]))
    print(f"views: {facts['views']}, {scores.about['num_views']} of {len(scores.video_ids)} videos")
    print(f"scores: {path}")
    print(f"report: {report}")
    return 0


def _read(uri: str, config: AverageConfig) -> "VideoScores":
    """Read a table, and average it if it is one of views."""
    from kinebert.training.evaluation.evaluate import average, read_scores
    from kinebert.training.evaluation.view_scores import is_views, read_views

    if is_views(uri):
        return average(read_views(uri), config.average, config.clips, config.crops)
    if config.average or config.clips or config.crops or len(config.tables) == 1:
        raise ConfigError(f"{uri}: holds scores of videos, whose views are averaged already. Give a views.parquet.")
    return read_scores(uri)


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, AverageConfig, args, "kinebert average")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
