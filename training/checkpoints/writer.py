"""The files of a training, written by a thread of its own: training waits for a copy in memory, not for a disk."""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from kinebert.preprocessing import storage
from kinebert.training.checkpoints.recognizer import (
    FORMAT_VERSION,
    KIND,
    load_recognizer,
    recognizer_content,
    save_plain,
    snapshot,
)
from kinebert.training.checkpoints.state import TrainState, content_of, save_content
from kinebert.training.models import Recognizer
from kinebert.training.run_folder import BEST_FILE, EpochRow, epoch_file, rank
from kinebert.training.shards import Shards


@dataclass
class _Job:
    """Something to write. Its content goes when something newer makes it needless."""

    do: Callable[[], None] | None
    name: str = ""
    """File of a recognizer; empty for other work."""
    promotes: dict[str, str] = field(default_factory=dict)
    """Of a state: files that take another name once it is written."""
    is_state: bool = False


class TrainFiles:
    """Writes what a training keeps, in the order in which it was given; each file appears whole or not at all.

    A state that still waits when the next one comes is left out, with the recognizers that newer ones take the place
    of: slow storage holds nobody up, and copies do not pile up. The best recognizer takes its name only after the state
    that says that it is the best one, so both always speak of the same epoch. What went wrong in the thread is raised
    by the next call. To be used as a context, whose end waits.

    Args:
        output: Folder, on any filesystem that pyarrow opens.
        writes: Whether this process is the one that writes; else every call does nothing.
        keep_best: Epochs whose recognizers are kept; the best one is always, as :data:`BEST_FILE`.
    """

    def __init__(self, output: str, writes: bool, keep_best: int = 1) -> None:
        self._output, self._keep = output, keep_best
        self._thread = threading.Thread(target=self._work, name="files", daemon=True) if writes else None
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._waiting: list[_Job] = []
        self._lock = threading.Lock()
        self._promotes: dict[str, str] = {}
        self._error: BaseException | None = None

    def __enter__(self) -> "TrainFiles":
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            if raised[0] is None:
                self._complain()

    def settle(self, name: str, best_epoch: int | None) -> None:
        """Finish or undo what a kill has left half done.

        Args:
            name: That of the best recognizer of the stage that goes on.
            best_epoch: Epoch that the state to go on from says is the best of it; None if there is none.
        """
        if self._thread is None:
            return
        for found in storage.list_files(self._output):
            if not found.endswith(_next(BEST_FILE)):
                continue
            waiting, final = storage.join(self._output, found), found.replace(_next(BEST_FILE), BEST_FILE)
            if final != name or load_recognizer(waiting)[1].epoch == best_epoch:
                storage.move_file(waiting, storage.join(self._output, final))
            else:
                storage.delete_file(waiting)

    def state(self, state: TrainState) -> None:
        """Keep a state to go on from, and the one before it."""
        if self._thread is None:
            return
        self._complain()
        job = _Job(partial(save_content, self._output, snapshot(content_of(state))), is_state=True)
        job.promotes, self._promotes = self._promotes, {}
        with self._lock:
            for i, older in enumerate(self._waiting):
                newer = {other.name for other in self._waiting[i + 1 :]}
                if older.is_state:
                    job.promotes = {**older.promotes, **job.promotes}
                    older.do, older.promotes = None, {}
                elif older.name and older.name in newer:
                    older.do = None
        self._put(job)

    def recognizer(
        self, names: Sequence[str], model: Recognizer, shards: Shards, row: EpochRow, extra: Mapping[str, Any]
    ) -> None:
        """Keep the network as it is now, under every one of ``names``.

        Args:
            names: Files in the output folder. One that ends in :data:`BEST_FILE` waits for the next state.
            model: The network.
            shards: The set that it is trained on.
            row: The numbers of its epoch, as in the history.
            extra: What else the checkpoint should say.
        """
        if self._thread is None or not names:
            return
        self._complain()
        numbers: Mapping[str, Any] = row
        metrics = {name: float(value) for name, value in numbers.items() if name != "epoch"}
        content = snapshot(recognizer_content(model, shards, epoch=row["epoch"], metrics=metrics, extra=extra))
        for name in names:
            first = name
            if name.endswith(BEST_FILE):
                first = _next(name)
                self._promotes[first] = name
            uri = storage.join(self._output, first)
            self._put(_Job(partial(save_plain, uri, content, KIND, FORMAT_VERSION), first))

    def names_of(self, rows: Sequence[EpochRow]) -> list[str]:
        """Names under which the recognizer of the last epoch of ``rows`` should be kept; empty if not at all."""
        names = [BEST_FILE] if rows[-1] is max(rows, key=rank) else []
        return names + ([epoch_file(rows[-1]["epoch"])] if self._keep > 1 and rows[-1] in self._best(rows) else [])

    def retired(self, rows: Sequence[EpochRow]) -> list[str]:
        """Names of the recognizers of epochs that are no longer among the best ones of ``rows``."""
        return [epoch_file(row["epoch"]) for row in rows if row not in self._best(rows)] if self._keep > 1 else []

    def delete(self, names: Sequence[str]) -> None:
        """Remove files, after all that was given before is written."""
        if self._thread is not None:
            for name in names:
                self._put(_Job(partial(storage.delete_file, storage.join(self._output, name))))

    def wait(self) -> None:
        """Return when everything that was given is on its storage."""
        if self._thread is not None:
            self._jobs.join()
            self._complain()

    def _best(self, history: Sequence[EpochRow]) -> list[EpochRow]:
        return sorted(history, key=rank, reverse=True)[: self._keep]

    def _put(self, job: _Job) -> None:
        with self._lock:
            self._waiting.append(job)
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            with self._lock:  # from here on it is done, whatever newer comes
                self._waiting.remove(job)
                do, promotes = job.do, job.promotes
            try:
                if self._error is None and do is not None:  # after an error nothing is written that builds on it
                    do()
                    for first, name in promotes.items():
                        storage.move_file(storage.join(self._output, first), storage.join(self._output, name))
            except Exception as error:  # raised where somebody can hear it
                self._error = error
            del job, do  # or the copy would live until the next one comes
            self._jobs.task_done()

    def _complain(self) -> None:
        if self._error is not None:
            raise self._error


def _next(name: str) -> str:
    """Under which a best recognizer waits for the state that says so."""
    return name.removesuffix(".pt") + "-next.pt"
