"""Averaging as a job: other scores of videos from stored scores of views, without running a model."""

import os
from dataclasses import dataclass

from kinebert.orchestration.jobs.requests import AveragingRequest
from kinebert.orchestration.reports.metrics_file import write_metrics
from kinebert.orchestration.reports.publishing import publish_report, report_data
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.storage import check_writable, join, resolve_uri
from kinebert.training.evaluation.evaluate import VideoScores, average, read_scores, write_scores
from kinebert.training.evaluation.view_scores import is_views, read_views
from kinebert.training.run_folder import METRICS_FILE, REPORT_FOLDER, SCORES_FILE


@dataclass(frozen=True, eq=False)
class Averaged:
    """What came of one table, or of one per split."""

    tables: tuple[VideoScores, ...]
    """Scores of videos, one table for each that was given."""
    table: str | None = None
    """Path or URI of the scores that were written; None for several tables, of which nothing is written."""
    report: str | None = None
    """Path or URI of the report, if scores were written."""


def average_anew(request: AveragingRequest) -> Averaged:
    """Average stored scores of views in another way; one table is written and reported on, several are only read.

    Raises:
        UserError: If a table is missing or damaged.
        ConfigError: If a table holds scores of videos and is to be averaged, or nobody has these clips or crops.
    """
    tables = tuple(_read(resolve_uri(path), request) for path in request.tables)
    if len(tables) > 1:
        return Averaged(tables)
    (scores,) = tables
    output = resolve_uri(request.output)
    check_writable(output)
    path = join(output, SCORES_FILE)
    write_scores(path, scores)
    write_metrics(join(output, METRICS_FILE), scores)
    facts = {"views": str(scores.about.get("views")), "part": scores.tested_part}
    title = f"{os.path.basename(output)}: {facts['part']}, {facts['views']}"
    data = report_data(title, {str(scores.about.get("modality")): scores}, facts)
    return Averaged(tables, path, publish_report(join(output, REPORT_FOLDER), data, None, "report"))


def _read(uri: str, request: AveragingRequest) -> VideoScores:
    """Read a table, and average it if it is one of views."""
    if is_views(uri):
        return average(read_views(uri), request.average, request.clips, request.crops)
    if request.average or request.clips or request.crops or len(request.tables) == 1:
        raise ConfigError(f"{uri}: holds scores of videos, whose views are averaged already. Give a views.parquet.")
    return read_scores(uri)
