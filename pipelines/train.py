"""Train a recognizer from a recipe, on this machine or on a cluster.

kinebert train rgb --set data.shards=sets/rgb optim.lr=0.001
ray job submit --working-dir . -- python pipelines/train.py pipelines/recipes/r.toml --output /data/runs/r
"""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from kinebert.orchestration.audience import Terminal
from kinebert.orchestration.jobs.requests import TrainingRequest
from kinebert.orchestration.printing import Table, say
from kinebert.pipelines.options import NOT_RECORDED, Overrides, load_recipe, run, set_by
from kinebert.training.recipe.train import ProtocolRecipe

if TYPE_CHECKING:
    from kinebert.orchestration.jobs.training import TrainingResult


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train a recognizer from a recipe.

    Run the same command again to continue after a stop. Everything is kept in MLflow; the output folder holds the
    best checkpoint, the state to continue from, and a report.
    """

    recipe: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE")]
    """TOML file that describes the whole training, or the name of a recipe (`kinebert recipes` lists them)."""
    overrides: Overrides = ()
    """Values to take instead of the recipe's, such as optim.lr=0.001 model.width=0.5."""
    output: Annotated[str | None, tyro.conf.arg(metavar="RUN")] = None
    """Folder (path or URI) of the run; by default runs/ and the recipe's name."""
    experiment: str = "kinebert"
    """MLflow experiment that the run belongs to."""
    tracking_uri: str | None = None
    """MLflow server, or file of a SQLite store; by default MLFLOW_TRACKING_URI, else mlflow.db beside RUN."""
    mirror: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Further pages that get the numbers, as MLflow does: tensorboard, wandb (extras of the same names)."""
    cpus_per_worker: float | None = None
    """Logical CPUs that a worker holds; by default a share of this machine, or on a cluster 1 and 1 per loader."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes a GPU per worker where there are some; cuda refuses to train without."""
    new: bool = False
    """Refuse to go on with a training that RUN holds already."""
    dry_run: bool = False
    """Check data, weights, memory and cluster, print the whole recipe as it would run, and train and write nothing."""
    stretch_schedule: bool = False
    """Go on with another number of epochs than a cosine schedule was begun for: what is left of it ends with them."""


def main(config: TrainConfig) -> int:
    """Train, say what came of it and what comes next, and return the exit status."""
    request = TrainingRequest(
        recipe=load_recipe(config.recipe, config.overrides),
        source=config.recipe,
        output=config.output or f"runs/{Path(config.recipe).stem}",
        experiment=config.experiment,
        tracking_uri=config.tracking_uri,
        mirror=config.mirror,
        cpus_per_worker=config.cpus_per_worker,
        device=config.device,
        new=config.new,
        stretch_schedule=config.stretch_schedule,
    )
    if config.dry_run:
        return _dry_run(request, set_by(config.recipe, config.overrides))
    from kinebert.orchestration.jobs.training import train  # slow imports, after the options are known to be right

    result = train(request, Terminal())
    say(*_told(result))
    return 0 if result.recorded else NOT_RECORDED


def _dry_run(request: TrainingRequest, set_by: Mapping[str, str]) -> int:
    from kinebert.orchestration.jobs.dry_run import dry_run  # slow imports, likewise
    from kinebert.orchestration.reports.dry_run import told

    say(*told(dry_run(request, Terminal()), set_by))
    say(f"next: the same command without --dry-run trains it in {shlex.quote(request.output)}")
    return 0


def _told(result: "TrainingResult") -> list[str | Table]:
    from kinebert.orchestration.reports.accuracies import accuracy_table, rejected_lines
    from kinebert.orchestration.tracking.store import page_command

    best, num_epochs = result.summary.best, len(result.summary.history)
    views = " --views multi" if result.recipe.test == ProtocolRecipe() else ""
    return [
        accuracy_table({result.modality: result.scores}),
        *rejected_lines(result.scores),
        f"best of {num_epochs} epochs: epoch {best['epoch']}, validation top-1 {best['val_top1']:.1%}",
        f"report: {result.report}",
        f"next: kinebert evaluate {shlex.quote(result.checkpoint)} --part test{views}",
        f"      {page_command(result.tracking_uri)}",
    ]


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, TrainConfig, args, "kinebert train")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
