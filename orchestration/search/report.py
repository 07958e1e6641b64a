"""A search in words, as a table and as pictures."""

from collections.abc import Sequence

from kinebert.orchestration.printing import Table
from kinebert.orchestration.reports.drawing import to_png
from kinebert.orchestration.reports.formatting import metric_text, value_text
from kinebert.orchestration.search.figures import draw_learning, draw_parallel
from kinebert.orchestration.search.records import Record, ranking
from kinebert.orchestration.search.space import Space
from kinebert.preprocessing.plain_text import csv_text
from kinebert.training.recipe.tune import TuneRecipe


def outcome(record: Record, tune: TuneRecipe) -> str:
    """Say in one line what a trial that has ended came to, and with which values."""
    best = record.best(tune.metric, tune.sign)
    values = ", ".join(f"{field} = {value_text(value)}" for field, value in record.present_values.items())
    came_to = (
        f"{tune.metric} {metric_text(tune.metric, best[tune.metric])} after epoch {best['epoch']}"
        if best is not None
        else "no epoch"
    )
    reason = f": {record.reason}" if record.state == "failed" else ""
    return f"trial {record.number} {record.state} at epoch {record.epoch}, {came_to}; {values}{reason}"


def table(records: Sequence[Record], tune: TuneRecipe, most: int) -> list[str | Table]:
    """Return a table of the best trials, and lines that say how many others there are."""
    sound = ranking([record for record in records if record.state != "failed"], tune.metric, tune.sign)
    header = ["trial", "state", "epochs", tune.metric, *(records[0].values if records else ())]
    rows = []
    for record in sound[:most]:
        best = record.best(tune.metric, tune.sign)
        assert best is not None, "only trials with epochs are ranked"
        cells = [str(record.number), record.state, str(record.epoch), metric_text(tune.metric, best[tune.metric])]
        rows.append([*cells, *map(value_text, record.values_at(int(best["generation"])).values())])
    lines: list[str | Table] = [Table(header=header, rows=rows, align="r")]
    failed = [record for record in records if record.state == "failed"]
    more = len(sound) - most
    if more > 0:
        lines.append(f"and {more} more")
    if failed:
        lines.append(f"{len(failed)} failed; the first: trial {failed[0].number}: {failed[0].reason}")
    return lines


def files(records: Sequence[Record], space: Space, tune: TuneRecipe) -> dict[str, bytes]:
    """Return the files that a search leaves for people, by name: pictures, and a table of all trials."""
    return {
        "parallel.png": to_png(draw_parallel(records, space, tune)),
        "learning.png": to_png(draw_learning(records, tune)),
        "trials.csv": _csv(records, tune).encode(),
    }


def _csv(records: Sequence[Record], tune: TuneRecipe) -> str:
    fields = list(records[0].values) if records else []
    rows: list[list[object]] = [
        ["trial", "state", "epochs", tune.metric, "best_epoch", "startup_s", "seed", *fields, "reason"]
    ]
    for record in records:
        best = record.best(tune.metric, tune.sign)
        reached = ["", ""] if best is None else [best[tune.metric], best["epoch"]]
        numbers = [*reached, record.startup_s or "", record.seed]
        values = record.present_values.values()
        rows.append([record.number, record.state, record.epoch, *numbers, *values, record.reason])
    return csv_text(rows)
