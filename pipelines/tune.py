"""Search over the fields of a recipe, on this machine or on a cluster.

kinebert tune recipe.toml --set tune.trials=40
ray job submit --working-dir . -- python pipelines/tune.py pipelines/recipes/r.toml --output /data/searches/r
"""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import tyro

from kinebert.orchestration.cluster import check_workers
from kinebert.orchestration.printing import say
from kinebert.orchestration.progress import ProgressLine
from kinebert.pipelines.options import run
from kinebert.preprocessing import storage
from kinebert.preprocessing.config import flatten, load_config, to_plain
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.folder_lock import held
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.storage import resolve_uri
from kinebert.training.recipe.train import TrainRecipe
from kinebert.training.recipe.tune import Metric, TuneRecipe
from kinebert.training.run_folder import BEST_FILE, RECIPE_FILE

_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """Search over the fields that the recipe's [tune] table names.

    Run the same command again to continue after a stop: no finished trial is repeated. The output folder holds a record
    and the numbers of every trial and the weights of the best ones; MLflow a run for the search and one for each trial.
    """

    recipe: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE")]
    """TOML file of a training, with a table [tune]; see docs/tuning.md."""
    overrides: tyro.conf.UseAppendAction[
        Annotated[tuple[tuple[str, ...], ...], tyro.conf.arg(name="set", metavar="KEY=VALUE ...")]
    ] = ()
    """Values to take instead of the recipe's, such as tune.trials=40 epochs=10."""
    output: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Folder (path or URI) of the search; by default searches/ and the recipe's name."""
    experiment: str = "kinebert"
    """MLflow experiment that the runs belong to."""
    tracking_uri: str | None = None
    """MLflow server, or file of a SQLite store; by default MLFLOW_TRACKING_URI, else mlflow.db beside FOLDER."""
    cpus_per_worker: float | None = None
    """Logical CPUs that each worker of a trial holds; by default 1."""
    gpus_per_worker: float | None = None
    """GPUs that each worker holds; a part, such as 0.25, lets trials share one. By default 1 if there are any."""


def main(config: TuneConfig) -> int:
    """Check everything that can be checked, search, report, and return the exit status."""
    from kinebert.orchestration.search.space import read_space

    base = load_config(TrainRecipe, config.recipe, list(chain.from_iterable(config.overrides)))
    if base.tune is None:
        raise ConfigError(f"{config.recipe}: there is no table [tune] that says what to search. See docs/tuning.md.")
    base = base.with_absolute_shards()
    output = resolve_uri(config.output or f"searches/{Path(config.recipe).stem}")
    space = read_space(base.tune, base, config.recipe)
    check_workers(base.workers, "workers")
    for name in ("cpus_per_worker", "gpus_per_worker"):
        if (value := getattr(config, name)) is not None and value < 0:
            raise ConfigError(f"{name} must not be negative, got {value}.")
    shards = ShardSet.open(base.data.shards)
    from kinebert.orchestration import run_tags, tracking, tracking_store  # slow imports, after the quick refusals
    from kinebert.orchestration.search import records, run, trials
    from kinebert.orchestration.search.checks import about, check_trials
    from kinebert.training.loop.initial import pinned

    base = pinned(base)
    job = trials.Job(base=base, output=output, cpus_per_worker=1.0, where=config.recipe)
    for note in check_trials(job, space, shards):
        print(f"note: {note}")
    description = about(base, shards)
    records.check_same(output, description)
    store = tracking_store.choose_store(config.tracking_uri, output)
    storage.check_writable(output)
    with held(output, "tune"):
        tags = {**run_tags.code_version("tune"), "shards_digest": shards.digest, "run_folder": output}
        parent = tracking.open_run(output, store, config.experiment, tags)
        with tracking.running(parent):
            records.claim(output, description)
            parent.params({**flatten(to_plain(replace(base, tune=None))), **_params(base.tune)})
            print(f"searching {', '.join(space)} of {config.recipe}: {output}", flush=True)
            resources = run.Resources(cpus_per_worker=config.cpus_per_worker, gpus_per_worker=config.gpus_per_worker)
            found = _search(job, space, shards, parent, resources)
        return _report(job, found, store)


def _search(job: Any, space: Any, shards: ShardSet, parent: Any, resources: Any) -> list[Any]:
    """Search, keep MLflow up to date, and leave pictures; return all trials."""
    from kinebert.orchestration.search import records, run, tidying, to_mlflow
    from kinebert.orchestration.search.report import files

    known = records.load_records(job.output)
    recorder = to_mlflow.Recorder(parent, job, shards, known)
    keeper, shown = tidying.Keeper(job), _Shown(job.base.tune, known)

    def changed(record: Any, live: bool) -> None:
        recorder.changed(record, live)
        shown.changed(record, live)
        if record.ended:
            keeper.tidy(shown.records, at_work=record.number)

    try:
        found = run.search(job, space, known, resources, changed)
    finally:
        whole = recorder.close()
    keeper.tidy(found)
    best = to_mlflow.winner(found, job.base.tune, job.output)
    if best is not None:
        recorder.crown(best)
    to_mlflow.keep_pictures(parent, job.output, files(found, space, job.base.tune))
    if not whole:
        print("MLflow lacks a part of the search; run the same command again when it answers", file=sys.stderr)
    return found


def _params(tune: TuneRecipe) -> dict[str, Any]:
    plain = to_plain(tune)
    space = plain.pop("space")
    return {**{f"tune.{key}": value for key, value in plain.items()}, "tune.space": space}


class _Shown:
    """Says how the search goes: a line for every trial that has ended, and one that moves."""

    def __init__(self, tune: TuneRecipe, known: Sequence[Any]) -> None:
        self._tune, self._line = tune, ProgressLine()
        self._by_number = {record.number: record for record in known}
        self._live: set[int] = set()
        if known:
            ended = sum(record.ended for record in known)
            print(f"going on: {len(known)} trials were begun, {ended} of them have ended", flush=True)

    @property
    def records(self) -> list[Any]:
        """All trials that are known."""
        return list(self._by_number.values())

    def changed(self, record: Any, live: bool) -> None:
        """Take note of a trial's news."""
        from kinebert.orchestration.search.report import outcome

        self._by_number[record.number] = record
        (self._live.add if live else self._live.discard)(record.number)
        if record.ended:
            print(outcome(record, self._tune), flush=True)
        self._line.show(self._text)

    def _text(self) -> str:
        ended = sum(record.ended for record in self.records)
        at_work = ", ".join(f"{n} (epoch {self._by_number[n].epoch})" for n in sorted(self._live))
        return f"{ended} trial{'s have' if ended != 1 else ' has'} ended; at work: {at_work or 'none'}"


def _report(job: Any, found: Sequence[Any], store: str) -> int:
    """Print the best trials and what to do next; return the exit status."""
    from kinebert.orchestration import tracking_store
    from kinebert.orchestration.search import to_mlflow
    from kinebert.orchestration.search.report import table

    best = to_mlflow.winner(found, job.base.tune, job.output)
    say(*table(found, job.base.tune, _SHOWN))
    if best is None:
        print(f"every trial failed; the reasons are in {job.output}/trials/*/error.txt and above")
        return 1
    metric: Metric = job.base.tune.metric
    value = best.row[metric]
    print(f"best: trial {best.record.number}, {metric} {value:.4g} after epoch {best.row['epoch']}")
    if best.kept is not best.row:
        other = f"{metric} {best.kept[metric]:.4g}"
        print(f"its {BEST_FILE} holds epoch {best.kept['epoch']}, the best in val_top1, with {other}")
    print(f"pictures: {storage.join(job.output, 'parallel.png')}, {storage.join(job.output, 'learning.png')}")
    print(f"next: kinebert evaluate {shlex.quote(best.checkpoint)} --part test")
    print(f"      kinebert train {shlex.quote(storage.join(best.folder, RECIPE_FILE))} --output runs/best")
    print(f"      {tracking_store.page_command(store)}")
    return 0


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, TuneConfig, args, "kinebert tune")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
