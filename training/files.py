"""The files of a training, written by a thread of its own: training waits for a copy in memory, not for a disk."""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from preprocessing import storage
from training.checkpoints import FORMAT_VERSION, KIND, Shards, recognizer_content, save_plain, snapshot
from training.models import Recognizer
from training.state import TrainState, content_of, save_content

BEST_FILE = "best.pt"
LAST_FILE = "last.pt"
_EPOCH_FILE = "epoch-{:04d}.pt"

Row = Mapping[str, Any]


def rank(row: Row) -> tuple[float, float]:
    """What makes one epoch better than another: a higher top-1 in validation, and of equal ones a lower loss."""
    return row["val_top1"], -row["val_loss"]


class TrainFiles:
    """Writes what a training keeps, in the order in which it was given; each file appears whole or not at all.

    A state that still waits when the next one comes is left out, so that slow storage holds nobody up and at most two
    copies wait. What went wrong in the thread is raised by the next call. To be used as a context, whose end waits.

    Args:
        output: Folder, on any filesystem that pyarrow opens.
        writes: Whether this process is the one that writes; else every call does nothing.
        keep_best: Epochs whose recognizers are kept; the best one is always, as :data:`BEST_FILE`.
    """

    def __init__(self, output: str, writes: bool, keep_best: int = 1) -> None:
        self._output, self._keep = output, keep_best
        self._thread = threading.Thread(target=self._work, name="files", daemon=True) if writes else None
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._newest: object = None
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

    def state(self, state: TrainState) -> None:
        """Keep a state to go on from, and the one before it."""
        if self._thread is None:
            return
        self._complain()
        content = snapshot(content_of(state))
        self._newest = content
        self._jobs.put(partial(self._save_state, content))

    def recognizer(
        self, names: Sequence[str], model: Recognizer, shards: Shards, row: Row, extra: Mapping[str, Any]
    ) -> None:
        """Keep the network as it is now, under every one of ``names``.

        Args:
            names: Files in the output folder.
            model: The network.
            shards: The set that it is trained on.
            row: The numbers of its epoch, as in the history.
            extra: What else the checkpoint should say.
        """
        if self._thread is None or not names:
            return
        self._complain()
        metrics = {name: float(value) for name, value in row.items() if name != "epoch"}
        content = snapshot(recognizer_content(model, shards, epoch=row["epoch"], metrics=metrics, extra=extra))
        for name in names:
            self._jobs.put(partial(save_plain, storage.join(self._output, name), content, KIND, FORMAT_VERSION))

    def names_of(self, rows: Sequence[Row]) -> list[str]:
        """Names under which the recognizer of the last epoch of ``rows`` should be kept; empty if not at all."""
        names = [BEST_FILE] if rows[-1] is max(rows, key=rank) else []
        return names + ([_name(rows[-1])] if self._keep > 1 and rows[-1] in self._best(rows) else [])

    def retired(self, rows: Sequence[Row]) -> list[str]:
        """Names of the recognizers of epochs that are no longer among the best ones of ``rows``."""
        return [_name(row) for row in rows if row not in self._best(rows)] if self._keep > 1 else []

    def delete(self, names: Sequence[str]) -> None:
        """Remove files, after all that was given before is written."""
        if self._thread is not None:
            for name in names:
                self._jobs.put(partial(storage.delete_file, storage.join(self._output, name)))

    def wait(self) -> None:
        """Return when everything that was given is on its storage."""
        if self._thread is not None:
            self._jobs.join()
            self._complain()

    def _best(self, history: Sequence[Row]) -> list[Row]:
        return sorted(history, key=rank, reverse=True)[: self._keep]

    def _save_state(self, content: dict[str, Any]) -> None:
        if content is self._newest:
            save_content(self._output, content)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                if self._error is None:  # after an error nothing may be written that builds on what is not there
                    job()
            except Exception as error:  # raised where somebody can hear it
                self._error = error
            del job  # or the copy would live until the next one comes
            self._jobs.task_done()

    def _complain(self) -> None:
        if self._error is not None:
            raise self._error


def _name(row: Row) -> str:
    return _EPOCH_FILE.format(row["epoch"])
