"""What is left of a trial on disk: its numbers and recipe always, its weights if it is among the best."""

from collections.abc import Sequence

from kinebert.orchestration.reports.run_files import save_history, save_recipe
from kinebert.orchestration.search.records import Record, ranking, trial_folder
from kinebert.orchestration.search.trials import Job
from kinebert.preprocessing import storage
from kinebert.training.run_folder import BEST_FILE, HISTORY_FILE, LAST_FILE, RECIPE_FILE, SCRATCH_FOLDER, STATE_FILES


class Keeper:
    """Tidies up behind the trials of a search that have ended.

    Args:
        job: What the trials have in common.
        known: Trials of earlier calls. What is written of those that have ended is of what ran, and stays.
    """

    def __init__(self, job: Job, known: Sequence[Record] = ()) -> None:
        assert job.base.tune is not None, "a search was checked before"
        self._job, self._tune = job, job.base.tune
        self._described = {record.number for record in known if record.ended and self._is_described(record)}
        self._emptied: set[int] = set()

    def tidy(self, records: Sequence[Record], at_work: int | None = None) -> None:
        """Write what ended trials leave, and delete what nobody needs of them.

        Args:
            records: All trials.
            at_work: One whose processes may not have ended yet: it is left for the next time. None after the search:
                all are looked at again, since a late process may have written what was deleted.
        """
        ended = [record for record in records if record.ended]
        best = ranking([r for r in ended if r.state != "failed"], self._tune.metric, self._tune.sign)
        kept = {record.number for record in best[: self._tune.keep]}
        if at_work is None:
            self._emptied.clear()
        for record in ended:
            if record.number not in self._described:
                self._describe(record)
            if record.number != at_work and record.number not in self._emptied:
                self._empty(record, weights=record.number not in kept)

    def _generation(self, record: Record) -> int:
        best = record.best(self._tune.metric, self._tune.sign)
        return int(best["generation"]) if best is not None else record.generation

    def _is_described(self, record: Record) -> bool:
        folder = trial_folder(self._job.output, record.number, self._generation(record))
        return all(storage.exists(storage.join(folder, name)) for name in (RECIPE_FILE, HISTORY_FILE))

    def _describe(self, record: Record) -> None:
        generation = self._generation(record)
        folder = trial_folder(self._job.output, record.number, generation)
        save_recipe(folder, self._job.recipe(record.values_at(generation), record.seed))
        save_history(folder, record.rows)
        self._described.add(record.number)

    def _empty(self, record: Record, weights: bool) -> None:
        for generation in range(record.generation + 1):
            folder = trial_folder(self._job.output, record.number, generation)
            storage.delete_folder(storage.join(folder, SCRATCH_FOLDER))  # of workers whose trial was stopped
            for name in (*STATE_FILES, *((BEST_FILE, LAST_FILE) if weights else ())):
                storage.delete_file(storage.join(folder, name))
        if weights:
            self._emptied.add(record.number)
