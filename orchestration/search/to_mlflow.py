"""A search in MLflow: a parent run, and a child for every trial. The driver writes it, in a thread beside the search.

What MLflow holds is made to agree with the records of the trials: rows that it lacks are sent, and a run whose trial
has ended is closed. So a restart repairs what a killed driver, or a store that was away, left behind.
"""

import copy
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinebert.orchestration.printing import warn
from kinebert.orchestration.search.records import Record, TrialEpoch, ranking, trial_folder
from kinebert.orchestration.search.strays import end_strays
from kinebert.orchestration.search.trials import Job
from kinebert.orchestration.tracking.lifecycle import open_run
from kinebert.orchestration.tracking.metric_names import (
    LAST_EPOCH,
    epoch_metrics,
    of_search,
    of_value,
    summary_of_validation,
)
from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.orchestration.tracking.run_params import usual, varied
from kinebert.orchestration.tracking.run_tags import describe_training, training_tags
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.preprocessing import storage
from kinebert.preprocessing.config import flatten, to_plain
from kinebert.preprocessing.errors import UserError
from kinebert.training.aligned import OpenedSet, open_shards
from kinebert.training.recipe.train import TrainRecipe
from kinebert.training.recipe.tune import TuneRecipe
from kinebert.training.run_folder import BEST_FILE, STATE_FILE

BEST = "best"
"""Tag of the best trial's run: "true"."""
_STATUS = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}
_PAUSES_S = (2.0, 5.0)


@dataclass(frozen=True)
class Winner:
    """The best trial of a search, its best epoch, and where its weights lie."""

    record: Record
    row: TrialEpoch
    """Its best epoch."""
    kept: TrialEpoch
    """The epoch that its weights are of: the best in top-1, which is another one where the search looks at another
    number."""
    folder: str
    """Where it was trained to its best epoch."""

    @property
    def checkpoint(self) -> str:
        """Path or URI of the weights that are kept of the best trial."""
        return storage.join(self.folder, BEST_FILE)


def winner(records: Sequence[Record], tune: TuneRecipe, output: str) -> Winner | None:
    """Return the best trial of a search in the folder ``output``; None if all failed, or none has an epoch yet."""
    ranked = ranking([record for record in records if record.state != "failed"], tune.metric, tune.sign)
    if not ranked:
        return None
    row = ranked[0].best(tune.metric, tune.sign)
    assert row is not None, "only trials with epochs are ranked"
    generation = int(row["generation"])
    return Winner(ranked[0], row, ranked[0].kept(generation), trial_folder(output, ranked[0].number, generation))


class Recorder:
    """Keeps MLflow up to date on a search. :meth:`changed` returns at once; the rest waits for what was told before.

    Args:
        parent: The search's run.
        job: What its trials have in common.
        shards: The set that the base's recipe names.
        records: Trials of earlier calls.
        mirror: Further pages that get the numbers of trials, see :meth:`.Tracker.mirror`.
    """

    def __init__(
        self, parent: Tracker, job: Job, shards: OpenedSet, records: Sequence[Record], mirror: Sequence[str] = ()
    ) -> None:
        assert job.base.tune is not None, "a search was checked before"
        self._parent, self._job, self._shards, self._tune = parent, job, shards, job.base.tune
        self._mirror, self._children = mirror, dict[int, Tracker]()
        self._sent: dict[int, int] = {}
        self._closed: set[int] = set()
        self._summed_up: set[int] = set()
        self._latest: dict[int, Record] = {}
        self._told = self._lost = False
        self._begun: set[int] = set()
        self._at_start = {record.number: record.epoch for record in records}
        self._thread = ThreadPoolExecutor(1, "mlflow")
        known = [address.run_id for record in records if (address := self._address(record)) is not None]
        end_strays(parent.address, known)
        for record in records:
            self.changed(record, False)

    def changed(self, record: Record, live: bool) -> None:
        """Bring the MLflow run of a trial up to date, soon."""
        self._thread.submit(self._update, copy.deepcopy(record))

    def close(self) -> bool:
        """Send all that is left and close the runs of trials that are not at work any more; say if all arrived.

        What a store did not take is offered to it again, for some seconds.
        """
        self._thread.shutdown(wait=True)
        for record in list(self._latest.values()):
            self._update(record)
        for pause_s in _PAUSES_S:
            missing = [record for number, record in self._latest.items() if record.ended and number not in self._closed]
            if not missing:
                break
            time.sleep(pause_s)
            for record in missing:
                self._update(record)
                if record.number not in self._closed:
                    break  # a store that is away is away for all of them
        whole = all(number in self._closed for number, record in self._latest.items() if record.ended)
        for number, child in self._children.items():
            if not self._latest[number].ended:
                whole = child.end("KILLED") and whole
        return whole

    @property
    def complete(self) -> bool:
        """Whether the runs of trials have taken all that they were given."""
        return not self._lost and all(child.complete for child in self._children.values())

    def crown(self, best: Winner) -> None:
        """Tag the best trial's run, and no other, and keep its weights with it, as a model. After :meth:`close`."""
        from kinebert.orchestration.tracking.logged_models import keep_models  # seconds

        for number, record in self._latest.items():
            address = self._address(record)
            child = None if address is None else self._children.get(number) or Tracker.attach(address)
            if child is None:
                self._lost = self._lost or address is not None
                continue
            self._children[number] = child
            is_best = number == best.record.number
            child.tags({BEST: str(is_best).lower()})
            if is_best:
                child.address.save(best.folder)  # an evaluation of it finds its run
                child.artifact_of(best.checkpoint)
                if not keep_models(child.address, [best.checkpoint]):
                    child.lacks_something()
                self._parent.tags({"best_trial": str(number), "best_run": child.address.run_id})
                child.metrics(of_search({"kept_epoch": best.kept["epoch"]}), best.record.epoch)
                child.flush()
        self._lead(best)

    def _lead(self, best: Winner) -> None:
        """Tell the search's run what the best trial so far has come to."""
        numbers = of_search({f"best_{self._tune.metric}": best.row[self._tune.metric]})
        self._parent.metrics({**summary_of_validation(best.kept), **numbers}, self._num_ended())

    def _update(self, record: Record) -> None:
        self._latest[record.number] = record
        if record.number in self._closed:
            return
        try:
            child = self._children.get(record.number) or self._open(record)
        except UserError as error:  # the records hold it all
            if not self._told:
                self._told = True
                warn(f"MLflow is out of reach; trials are recorded later: {error}")
            return
        for row in record.rows:
            if row["epoch"] > self._sent[record.number]:
                values = flatten(record.values_at(row["generation"])) if record.takeovers else {}
                kept = record.kept(row["generation"], row["epoch"])
                summary = summary_of_validation(row) if row is kept else {}
                child.metrics({**summary, **epoch_metrics(row), **_numbers(values)}, row["epoch"])
                self._sent[record.number] = row["epoch"]
        if record.ended and record.number not in self._closed:
            self._end(record, child)

    def _open(self, record: Record) -> Tracker:
        """Find the trial's run, or make it; one of a start that came to nothing is left to it."""
        address = self._address(record)
        is_ours = address is not None and address.tracking_uri == self._parent.address.tracking_uri
        if address is not None and is_ours and (record.ended or self._gone_on_with(record)):
            child = Tracker.attach(address) if record.ended else None
            if child is not None and not child.is_open():
                self._closed.add(record.number)
            else:
                child = Tracker.resume(address)
            self._sent[record.number] = child.last_step(LAST_EPOCH)
        else:
            child = self._begin(record)
            self._sent[record.number] = 0
        if record.number not in self._closed:
            child.mirror(self._mirror, trial_folder(self._job.output, record.number))
            self._describe(record, child)
        self._children[record.number] = child
        return child

    def _gone_on_with(self, record: Record) -> bool:
        """Whether a trial has a run of this call, or an earlier one has brought it to an epoch or a saved state."""
        folder = trial_folder(self._job.output, record.number)
        begun = record.number in self._begun or self._at_start.get(record.number, 0) > 0
        return begun or storage.exists(storage.join(folder, STATE_FILE))

    def _begin(self, record: Record) -> Tracker:
        folder = trial_folder(self._job.output, record.number)
        name = f"{storage.name_of(self._job.output)} {record.number:04d}"
        at = self._parent.address
        child = open_run(folder, at.tracking_uri, at.experiment, self._tags(record), continues=False, name=name)
        self._begun.add(record.number)
        return child

    def _tags(self, record: Record) -> dict[str, str]:
        folder = trial_folder(self._job.output, record.number)
        tags = {"mlflow.parentRunId": self._parent.address.run_id, "trial": str(record.number)}
        return tags | training_tags("tune", *self._trained(record), folder)

    def _trained(self, record: Record) -> tuple[TrainRecipe, OpenedSet]:
        recipe = self._job.recipe(record.values, record.seed)
        ours, theirs = recipe.data, self._job.base.data
        same = (ours.shards, ours.beside) == (theirs.shards, theirs.beside)
        return recipe, self._shards if same else open_shards(recipe.data.shards, recipe.data.beside)

    def _describe(self, record: Record, child: Tracker) -> None:
        """Say what the trial trains and on what, as a training of its own does; of one that has ended, what was."""
        recipe, shards = self._trained(record)
        folder, epochs = trial_folder(self._job.output, record.number), self._at_start.get(record.number, 0)
        values = flatten({key: value for key, value in to_plain(recipe).items() if key != "tune"})
        tags = {} if record.ended else self._tags(record)
        shown = {**varied(recipe), **record.values}
        child.params(values, tags, f"from epoch {epochs + 1}" if epochs else "", shown, usual())
        describe_training(child, folder, recipe, shards, is_over=record.ended)

    def _end(self, record: Record, child: Tracker) -> None:
        if record.number not in self._summed_up:
            self._sum_up(record, child)
            self._summed_up.add(record.number)
        if not (child.flush() and child.end(_STATUS[record.state])):
            return  # it stays open, so that the next time, in close() or after a restart, sends the rest
        self._closed.add(record.number)
        leader = winner([other for other in self._latest.values() if other.ended], self._tune, self._job.output)
        if leader is not None:
            self._lead(leader)

    def _sum_up(self, record: Record, child: Tracker) -> None:
        taken = [f"epoch {item.epoch}: from trial {item.donor}, {item.values}" for item in record.takeovers]
        tags = {"state": record.state, "reason": record.reason, "takeovers": "; ".join(taken)}
        child.tags({key: value for key, value in tags.items() if value})
        best = record.best(self._tune.metric, self._tune.sign)
        numbers = {} if record.startup_s is None else {"startup_s": record.startup_s}
        if best is not None:
            numbers[f"best_{self._tune.metric}"] = best[self._tune.metric]
        child.metrics(of_search(numbers), record.epoch)

    def _num_ended(self) -> int:
        return sum(record.ended for record in self._latest.values())

    def _address(self, record: Record) -> RunAddress | None:
        return RunAddress.load(trial_folder(self._job.output, record.number))


def keep_pictures(parent: Tracker, folder: str, files: Mapping[str, bytes]) -> None:
    """Write files into the search's folder and, as artifacts, to its run."""
    for name, content in files.items():
        path = storage.join(folder, name)
        storage.write_bytes(path, content)
        if storage.is_local(path):
            parent.artifact(Path(path), "search")
        else:
            parent.artifact_of(path)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {of_value(key): float(value) for key, value in values.items() if isinstance(value, (int, float))}
