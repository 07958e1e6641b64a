"""Train a recognizer from a recipe, on this machine or on a cluster.

kinebert train recipe.toml --set optim.lr=0.001
ray job submit --working-dir . -- python pipelines/train.py pipelines/recipes/r.toml --output /data/runs/r
"""

import shlex
import sys
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from kinebert.orchestration.cluster import check_workers
from kinebert.orchestration.progress import ProgressLine, duration
from kinebert.pipelines.options import run
from kinebert.preprocessing import storage
from kinebert.preprocessing.config import flatten, load_config, to_plain, to_toml
from kinebert.preprocessing.folder_lock import held
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.storage import resolve_uri
from kinebert.training.loop.events import Event
from kinebert.training.recipe.train import ProtocolRecipe, TrainRecipe
from kinebert.training.run_folder import LAST_FILE, RECIPE_FILE, REPORT_FOLDER


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train a recognizer from a recipe.

    Run the same command again to continue after a stop. Everything is kept in MLflow; the output folder holds the
    best checkpoint, the state to continue from, and a report.
    """

    recipe: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE")]
    """TOML file that describes the whole training; see pipelines/recipes."""
    overrides: tyro.conf.UseAppendAction[
        Annotated[tuple[tuple[str, ...], ...], tyro.conf.arg(name="set", metavar="KEY=VALUE ...")]
    ] = ()
    """Values to take instead of the recipe's, such as optim.lr=0.001 model.width=0.5."""
    output: Annotated[str | None, tyro.conf.arg(metavar="RUN")] = None
    """Folder (path or URI) of the run; by default runs/ and the recipe's name."""
    experiment: str = "kinebert"
    """MLflow experiment that the run belongs to."""
    tracking_uri: str | None = None
    """MLflow server, or file of a SQLite store; by default MLFLOW_TRACKING_URI, else mlflow.db beside RUN."""
    cpus_per_worker: float | None = None
    """Logical CPUs that a worker holds; by default an equal share of this machine, or 1 on a cluster."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes a GPU per worker where there are some; cuda refuses to train without."""
    new: bool = False
    """Refuse to go on with a training that RUN holds already."""


def main(config: TrainConfig) -> int:
    """Check everything that can be checked, train, report, and return the exit status."""
    recipe = load_config(TrainRecipe, config.recipe, list(chain.from_iterable(config.overrides)))
    recipe = recipe.with_absolute_shards()
    output = resolve_uri(config.output or f"runs/{Path(config.recipe).stem}")
    check_workers(recipe.workers, "workers")
    shards = ShardSet.open(recipe.data.shards)
    from kinebert.orchestration import tracking_store  # slow imports, after the quick refusals
    from kinebert.orchestration.jobs.workers import check_device
    from kinebert.training.loop.initial import pinned
    from kinebert.training.loop.preflight import check_training

    recipe = pinned(recipe)
    check_device(recipe, config.device)
    for note in check_training(recipe, shards, output, config.new):
        print(f"note: {note}")
    store = tracking_store.choose_store(config.tracking_uri, output)
    storage.check_writable(output)
    tracker = _open_run(config, store, output, shards, recipe)
    with held(output, "train"):
        return _train(config, recipe, shards, tracker, output)


def _train(
    config: TrainConfig,
    recipe: TrainRecipe,
    shards: ShardSet,
    tracker: "tracking.Tracker",  # noqa: F821 - imported late
    output: str,
) -> int:
    """Train what was checked, report, and return the exit status."""
    from kinebert.orchestration import tracking, tracking_store
    from kinebert.orchestration.jobs import fit
    from kinebert.orchestration.reports import accuracies

    with tracking.running(tracker):
        tracker.params(flatten(to_plain(recipe)))
        effective = storage.join(output, RECIPE_FILE)
        with storage.explained(output, "write the recipe"):
            storage.write_bytes(effective, to_toml(to_plain(recipe)).encode())
        tracker.artifact_of(effective)
        parts = {"training": recipe.data.train_part, "validation": recipe.data.val_part}
        tracker.dataset(shards, {context: f"{recipe.data.split}/{part}" for context, part in parts.items()})
        print(f"training {recipe.model.backbone} + {recipe.model.head} on {shards.modality}: {output}", flush=True)
        facts = {"run": output, "recipe": config.recipe, "part": f"{recipe.data.split}/{recipe.data.val_part}"}
        hearing = _Hearing(tracker, tracker.last_step("step/loss"))
        result = fit.fit(recipe, output, hearing, config.cpus_per_worker, device=config.device)
        report = _record(tracker, result, output, shards, facts)
    best, scores = result.summary.best, result.val_scores
    print("\n".join([*accuracies.accuracy_lines({shards.modality: scores}), *accuracies.rejected_lines(scores)]))
    print(
        f"best of {len(result.summary.history)} epochs: epoch {best['epoch']}, validation top-1 {best['val_top1']:.1%}"
    )
    print(f"report: {report}")
    chosen_on_test = recipe.data.val_part == "test"
    checkpoint = storage.join(output, LAST_FILE) if chosen_on_test else result.summary.checkpoint
    views = " --views multi" if recipe.test == ProtocolRecipe() else ""
    print(f"next: kinebert evaluate {shlex.quote(checkpoint)} --part test{views}")
    print(f"      {tracking_store.page_command(tracker.address.tracking_uri)}")
    return 0


def _open_run(
    config: TrainConfig, store: str, output: str, shards: ShardSet, recipe: TrainRecipe
) -> "tracking.Tracker":  # noqa: F821 - imported late
    """Go on with the MLflow run of ``output``, or start one."""
    from kinebert.orchestration import run_tags, tracking

    tags = run_tags.training_tags("train", recipe, shards, output)
    return tracking.open_run(output, store, config.experiment, tags)


def _record(
    tracker: "tracking.Tracker",  # noqa: F821 - imported late
    result: "fit.FitResult",  # noqa: F821
    output: str,
    shards: ShardSet,
    facts: dict[str, str],
) -> str:
    """Keep what a training came to, in its folder and in MLflow, and return the report's location."""
    from kinebert.orchestration import mlflow_models
    from kinebert.orchestration.reports import history, publishing

    history.save_history(output, result.summary.history)
    if tracker.flush():  # else its store is gone, and what waits is all there is to send
        sent = tracker.last_step("epoch/val_loss")
        for row in result.summary.history:  # those that a killed driver could not send
            if row["epoch"] > sent:
                tracker.metrics(history.epoch_metrics(row), row["epoch"])
    tracker.artifact_of(result.summary.checkpoint)
    tracker.artifact_of(storage.join(output, LAST_FILE))
    mlflow_models.keep_model(tracker.address, result.summary.checkpoint)
    best = result.summary.best
    tracker.metrics({"best_val_top1": best["val_top1"]}, best["epoch"])
    scores = result.val_scores
    scores.about.update(run_folder=output, recipe=shards.recipe)
    facts = {**facts, "views": "one centre clip per video", "best epoch": str(best["epoch"])}
    return publishing.publish_report(
        storage.join(output, REPORT_FOLDER),
        publishing.report_data(f"Training {storage.name_of(output)}", {shards.modality: scores}, facts),
        tracker,
        "report",
    )


class _Hearing:
    """Shows what a training says, and passes it to MLflow. What was told before a restart is not told again."""

    def __init__(self, tracker: Any, last_step: int) -> None:
        self._tracker, self._last_step = tracker, last_step
        self._line = ProgressLine()

    def __call__(self, event: Event) -> None:
        kind = event["event"]
        if kind == "start":
            self._start(event)
        elif kind == "step":
            self._step(event)
        elif kind == "epoch":
            self._epoch(event)
        elif kind == "stage":
            print(f"stage {event['stage']} of {event['num_stages']}: clips of {event['clip_length']}", flush=True)
        elif kind == "left_out":
            print(f"epoch {event['epoch']}, step {event['step']} left out: {event['reason']}", file=sys.stderr)
        elif kind == "early_stop":
            print(f"no epoch since {event['best_epoch']} was better: training ends after epoch {event['epoch']}")
        elif kind == "restart":
            what = event["reason"] if event.get("hung") else f"a worker was lost ({event['reason']})"
            print(f"{what}; going on from the last saved state", file=sys.stderr)
        elif kind == "note":
            print(f"note: {event['text']}", file=sys.stderr)

    def _start(self, event: Event) -> None:
        where = event["resumed"]
        gone = f", going on at epoch {where['epoch'] + 1}, step {where['step'] + 1}" if where else ""
        print(
            f"{event['train_videos']} training and {event['val_videos']} validation videos, {event['num_classes']} "
            f"classes, {event['num_parameters'] / 1e6:.2f} M parameters, {event['steps_per_epoch']} steps per epoch, "
            f"{event['world_size']} workers{gone}",
            flush=True,
        )

    def _step(self, event: Event) -> None:
        if event["global_step"] > self._last_step:
            self._last_step = event["global_step"]
            names = ("loss", "top1", "lr", "grad_norm", "data_wait", "clips_per_s", "gpu_gib", "skipped")
            told = {f"step/{name}": event[name] for name in names if name in event}
            told |= {name: value for name, value in event.items() if name.startswith("system/")}
            self._tracker.metrics(told, event["global_step"])
        self._line.show(
            lambda: (
                f"epoch {event['epoch']}/{event['num_epochs']} step {event['step']}/{event['steps_per_epoch']}: loss "
                f"{event['loss']:.3f}, {event['clips_per_s']:.1f} clips/s, {event['data_wait']:.0%} waiting for data, "
                f"{_gpu(event)}{duration(event['eta_s'])} left"
            )
        )

    def _epoch(self, event: Event) -> None:
        from kinebert.orchestration.reports.history import epoch_metrics

        self._tracker.metrics(epoch_metrics(event), event["epoch"])
        self._line.close(
            f"epoch {event['epoch']}/{event['num_epochs']}: train loss {event['train_loss']:.3f}, top-1 "
            f"{event['train_top1']:.1%}; validation loss {event['val_loss']:.3f}, top-1 {event['val_top1']:.1%}"
            f"{' (best)' if event['is_best'] else ''}; {event['clips_per_s']:.1f} clips/s, {event['data_wait']:.0%} "
            f"waiting for data, {_gpu(event)}{duration(event['seconds'])}"
        )


def _gpu(event: Event) -> str:
    return f"{event['gpu_gib']:.1f} GiB of GPU memory, " if "gpu_gib" in event else ""


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, TrainConfig, args, "kinebert train")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
