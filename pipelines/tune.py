"""Search over the fields of a recipe, on this machine or on a cluster.

kinebert tune recipe.toml --set tune.trials=40
ray job submit --working-dir . -- python pipelines/tune.py pipelines/recipes/r.toml --output /data/searches/r
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from kinebert.orchestration.audience import Terminal
from kinebert.orchestration.jobs.requests import TuningRequest
from kinebert.orchestration.printing import say
from kinebert.pipelines.options import NOT_RECORDED, Overrides, load_recipe, run
from kinebert.preprocessing import storage
from kinebert.training.run_folder import BEST_FILE, RECIPE_FILE

if TYPE_CHECKING:
    from kinebert.orchestration.search.tuning import TuningResult

_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """Search over the fields that the recipe's [tune] table names.

    Run the same command again to continue after a stop: no finished trial is repeated. The output folder holds a record
    and the numbers of every trial and the weights of the best ones; MLflow a run for the search and one for each trial.
    """

    recipe: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE")]
    """TOML file of a training, with a table [tune], or the name of such a recipe; see docs/tuning.md."""
    overrides: Overrides = ()
    """Values to take instead of the recipe's, such as tune.trials=40 epochs=10."""
    output: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Folder (path or URI) of the search; by default searches/ and the recipe's name."""
    experiment: str = "kinebert"
    """MLflow experiment that the runs belong to."""
    tracking_uri: str | None = None
    """MLflow server, or file of a SQLite store; by default MLFLOW_TRACKING_URI, else mlflow.db beside FOLDER."""
    mirror: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Further pages that get the numbers, as MLflow does: tensorboard, wandb (extras of the same names)."""
    cpus_per_worker: float | None = None
    """Logical CPUs that each worker of a trial holds; by default 1, and 1 for each of its loaders."""
    gpus_per_worker: float | None = None
    """GPUs that each worker holds; a part, such as 0.25, lets trials share one. By default 1 if there are any."""


def main(config: TuneConfig) -> int:
    """Search, say what came of it, and return the exit status: 1 if every trial failed."""
    request = TuningRequest(
        recipe=load_recipe(config.recipe, config.overrides),
        source=config.recipe,
        output=config.output or f"searches/{Path(config.recipe).stem}",
        experiment=config.experiment,
        tracking_uri=config.tracking_uri,
        mirror=config.mirror,
        cpus_per_worker=config.cpus_per_worker,
        gpus_per_worker=config.gpus_per_worker,
    )
    from kinebert.orchestration.search.tuning import tune  # slow imports, after the options are known to be right

    return _report(tune(request, Terminal()))


def _report(result: "TuningResult") -> int:
    """Print the best trials and what to do next; return the exit status."""
    from kinebert.orchestration.reports.formatting import metric_text
    from kinebert.orchestration.search.report import table
    from kinebert.orchestration.tracking.store import page_command

    best, metric = result.best, result.tune.metric
    say(*table(result.trials, result.tune, _SHOWN))
    if best is None:
        say(f"every trial failed; the reasons are in {result.folder}/trials/*/error.txt and above")
        return 1
    came_to = metric_text(metric, best.row[metric])
    say(f"best: trial {best.record.number}, {metric} {came_to} after epoch {best.row['epoch']}")
    if best.kept is not best.row:
        other = f"{metric} {metric_text(metric, best.kept[metric])}"
        say(f"its {BEST_FILE} holds epoch {best.kept['epoch']}, the best in val_top1, with {other}")
    say(f"pictures: {storage.join(result.folder, 'parallel.png')}, {storage.join(result.folder, 'learning.png')}")
    say(f"next: kinebert evaluate {shlex.quote(best.checkpoint)} --part test")
    say(f"      kinebert train {shlex.quote(storage.join(best.folder, RECIPE_FILE))} --output runs/best")
    say(f"      {page_command(result.tracking_uri)}")
    return 0 if result.recorded else NOT_RECORDED


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, TuneConfig, args, "kinebert tune")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
