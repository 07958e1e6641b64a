"""A search as a job: check all that can be checked, search, keep MLflow up to date, and leave pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from kinebert.orchestration.cluster import check_workers

# isort: split
from kinebert.orchestration.audience import NOBODY, Audience
from kinebert.orchestration.jobs.requests import TuningRequest
from kinebert.orchestration.search.checks import about, check_trials
from kinebert.orchestration.search.progress import SearchProgress
from kinebert.orchestration.search.records import Record, check_same, claim, load_records
from kinebert.orchestration.search.report import files
from kinebert.orchestration.search.run import Resources, search
from kinebert.orchestration.search.space import Space, read_space
from kinebert.orchestration.search.suggest import num_trials
from kinebert.orchestration.search.tidying import Keeper
from kinebert.orchestration.search.to_mlflow import Recorder, Winner, keep_pictures, winner
from kinebert.orchestration.search.trials import Job
from kinebert.orchestration.tracking.lifecycle import open_run, running
from kinebert.orchestration.tracking.mirrors import check_mirrors
from kinebert.orchestration.tracking.run_params import usual, varied
from kinebert.orchestration.tracking.run_tags import code_version
from kinebert.orchestration.tracking.store import choose_store
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.preprocessing import storage
from kinebert.preprocessing.config import flatten, to_plain
from kinebert.preprocessing.folder_lock import held
from kinebert.training.aligned import OpenedSet, open_shards
from kinebert.training.loop.initial import pinned
from kinebert.training.recipe.tune import TuneRecipe


@dataclass(frozen=True, eq=False)
class TuningResult:
    """What came of a search."""

    folder: str
    """Path or URI of the search's folder."""
    tune: TuneRecipe
    """What was searched, and for what."""
    trials: tuple[Record, ...]
    """All of them, by number."""
    best: Winner | None
    """The best trial; None if every one failed."""
    tracking_uri: str
    """MLflow store that holds the runs."""
    run_id: str
    """Id of the search's run there, the parent of the trials'."""
    recorded: bool = True
    """Whether MLflow has taken all that there is to know; what it did not take was said when it happened."""


@dataclass(frozen=True)
class _Checked:
    """A search that nothing speaks against."""

    job: Job
    tune: TuneRecipe
    space: Space
    shards: OpenedSet
    description: dict[str, Any]


def tune(request: TuningRequest, audience: Audience = NOBODY) -> TuningResult:
    """Search, or go on with what the folder holds: no finished trial is repeated.

    Raises:
        UserError: If a trial could not be trained, the folder holds another search, another program works in it, or
            the cluster has no room for a single trial.
    """
    checked = _check(request, audience)
    job = checked.job
    store = choose_store(request.tracking_uri, job.output)
    storage.check_writable(job.output)
    with held(job.output, "tune"):
        tags = {**code_version("tune"), "shards_digest": checked.shards.digest, "run_folder": job.output}
        known = load_records(job.output)
        gone_on_with = any(record.rows for record in known)
        parent = open_run(job.output, store, request.experiment, tags, continues=gone_on_with)
        with running(parent):
            parent.mirror(request.mirror, job.output)
            claim(job.output, checked.description)
            base, searched = replace(job.base, tune=None), _params(checked.tune)
            when = f"after {sum(record.ended for record in known)} trials" if gone_on_with else ""
            shown = {**varied(base), **searched}
            changed = parent.params({**flatten(to_plain(base)), **searched}, tags, when, shown, usual())
            if changed:
                audience.say(f"note: recorded in MLflow as changed {when}: {'; '.join(changed)}")
            audience.say(f"searching {', '.join(checked.space)} of {request.source}: {job.output}")
            resources = Resources(cpus_per_worker=request.cpus_per_worker, gpus_per_worker=request.gpus_per_worker)
            found, whole = _search(checked, parent, resources, audience, request.mirror)
    best = winner(found, checked.tune, job.output)
    return TuningResult(
        folder=job.output,
        tune=checked.tune,
        trials=tuple(found),
        best=best,
        tracking_uri=store,
        run_id=parent.address.run_id,
        recorded=whole and parent.complete,
    )


def _check(request: TuningRequest, audience: Audience) -> _Checked:
    base = request.recipe.with_absolute_shards()
    output = storage.resolve_uri(request.output)
    assert base.tune is not None, "it was checked"
    check_mirrors(request.mirror, output)
    space = read_space(base.tune, base, request.source)
    check_workers(base.workers, "workers")
    shards = open_shards(base.data.shards, base.data.beside)
    base = pinned(base)
    job = Job(base=base, output=output, cpus_per_worker=1.0, where=request.source)
    for note in check_trials(job, space, shards):
        audience.say(f"note: {note}")
    description = about(base, shards)
    check_same(output, description)
    assert base.tune is not None, "it is what it was"
    return _Checked(job, base.tune, space, shards, description)


def _search(
    checked: _Checked, parent: Tracker, resources: Resources, audience: Audience, mirror: Sequence[str]
) -> tuple[list[Record], bool]:
    """Search, keep MLflow up to date, and leave pictures; return all trials, and whether MLflow has all of them."""
    job = checked.job
    known = load_records(job.output)
    recorder = Recorder(parent, job, checked.shards, known, mirror)
    keeper = Keeper(job, known)
    told = SearchProgress(job.base, num_trials(checked.tune, checked.space), known, audience)

    def changed(record: Record, live: bool) -> None:
        recorder.changed(record, live)
        told.changed(record, live)
        if record.ended:
            keeper.tidy(told.records, at_work=record.number)

    try:
        with told:
            found = search(job, checked.space, known, resources, changed)
    finally:
        whole = recorder.close()
    keeper.tidy(found)
    best = winner(found, checked.tune, job.output)
    if best is not None:
        recorder.crown(best)
    keep_pictures(parent, job.output, files(found, checked.space, checked.tune))
    if not whole:
        audience.warn("MLflow lacks a part of the search; run the same command again when it answers")
    return found, whole and recorder.complete


def _params(tune: TuneRecipe) -> dict[str, Any]:
    plain = to_plain(tune)
    space = plain.pop("space")
    return {**{f"tune.{key}": value for key, value in plain.items()}, "tune.space": space}
