"""Scores that are kept while an evaluation runs, so that one that is killed and run again goes on from them.

Axes: N views, K classes.
"""

import hashlib
import io
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing import storage
from kinebert.training.data.dataset import Key
from kinebert.training.evaluation.scorer import ScoreBatches

_FOLDER = ".scored-"
_NAME = re.compile(r"(\d{10})-(\d{10})\.npy")


def keeping(
    score: ScoreBatches,
    folder: str,
    identity: dict[str, Any],
    every_s: float,
    went_on: Callable[[int], None] = lambda num_views: None,
) -> ScoreBatches:
    """Write down what ``score`` gives every ``every_s`` seconds, and first of all give what was written before.

    Args:
        score: Does the work that is left.
        folder: Where the evaluation's results go; must exist. What is kept is in a hidden folder of it until
            :func:`forget`.
        identity: Plain values that decide the scores, besides which views meet in which batch. What was kept with
            another identity is left alone.
        every_s: Seconds; 0 for after every batch.
        went_on: Called with the number of views that were scored before, if there are any.
    """

    def kept(batches: Sequence[list[Key]]) -> Iterator[NDArray[np.float32]]:
        ends = np.cumsum([0, *(len(batch) for batch in batches)])
        keys = np.array([key for batch in batches for key in batch], np.int64)
        about = json.dumps(identity, sort_keys=True).encode() + ends.tobytes() + keys.tobytes()
        place = storage.join(folder, _FOLDER + hashlib.sha256(about).hexdigest()[:16])
        done = 0
        for some_NK in _read(place, set(ends.tolist())):
            done += len(some_NK)
            yield some_NK
        if done:
            went_on(done)
        waiting: list[NDArray[np.float32]] = []
        saved_at = time.monotonic()
        for some_NK in score(batches[int(np.searchsorted(ends, done)) :]) if done < ends[-1] else ():
            waiting.append(some_NK)
            if time.monotonic() - saved_at >= every_s:
                _write(place, done, np.concatenate(waiting))
                done += sum(map(len, waiting))
                waiting, saved_at = [], time.monotonic()
            yield some_NK

    return kept


def forget(folder: str) -> None:
    """Remove what was kept in ``folder``, once the evaluation has ended."""
    for name in storage.list_folders(folder):
        if name.startswith(_FOLDER):
            storage.delete_folder(storage.join(folder, name))


def _write(place: str, start: int, logits_NK: NDArray[np.float32]) -> None:
    data = io.BytesIO()
    np.save(data, logits_NK)
    uri = storage.join(place, f"{start:010d}-{start + len(logits_NK):010d}.npy")
    with storage.explained(uri, "write this file"):
        storage.make_folder(place)
        storage.write_bytes(uri, data.getvalue())


def _read(place: str, ends: set[int]) -> Iterator[NDArray[np.float32]]:
    """Yield what was kept from the first view on, up to the first gap or file that is not as it was written."""
    pieces = {int(found[1]): int(found[2]) for name in storage.list_files(place) if (found := _NAME.fullmatch(name))}
    start = 0
    while start in pieces and pieces[start] in ends:
        stop = pieces[start]
        try:
            data = storage.read_bytes(storage.join(place, f"{start:010d}-{stop:010d}.npy"))
            logits_NK: NDArray[np.float32] = np.load(io.BytesIO(data), allow_pickle=False)
        except (OSError, ValueError, EOFError, MemoryError):  # a damaged header may claim any size
            return
        if logits_NK.ndim != 2 or len(logits_NK) != stop - start or logits_NK.dtype != np.float32:
            return
        yield logits_NK
        start = stop
