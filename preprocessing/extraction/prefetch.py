"""Run the steps of a task side by side: decoding, flow and encoding all let go of Python's lock."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
MOST_AHEAD = 16
"""Frames that wait to be worked on, if they are small."""
MOST_BYTES_AHEAD = 256 * 2**20
"""Memory of frames that wait: 16 of 4K take more."""
_END: Any = object()


def frames_ahead(frame: NDArray[np.uint8]) -> int:
    """Return how many frames like this one may wait to be worked on: one at least, however large it is."""
    return max(1, min(MOST_AHEAD, MOST_BYTES_AHEAD // max(1, frame.nbytes)))


def prefetch(items: Iterable[T], depth: int | Callable[[T], int]) -> Iterator[T]:
    """Yield ``items`` in order while a thread works ahead by at most ``depth`` of them.

    ``depth`` may be a function, which is told each item and says how many like it may wait. An exception of ``items``
    is raised where its item would have come. Leaving early stops the thread before its next item.
    """
    ready: queue.Queue[Any] = queue.Queue(maxsize=depth if isinstance(depth, int) else 1)
    stop = threading.Event()

    def offer(entry: Any) -> None:
        while not stop.is_set():
            try:
                ready.put(entry, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                if callable(depth):
                    ready.maxsize = depth(item)
                offer((item, None))
                if stop.is_set():
                    break
            offer((_END, None))
        except BaseException as error:
            offer((_END, error))
        finally:
            if stop.is_set() and hasattr(items, "close"):
                items.close()

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stop.set()
