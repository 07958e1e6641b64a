"""Working ahead in a thread changes nothing but the time it takes."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.preprocessing.extraction.prefetch import frames_ahead, prefetch


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def wait_until_no_thread_is_left() -> None:
    deadline = time.monotonic() + 5
    while threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threads() == []


@pytest.mark.parametrize("depth", [1, 3, 100])
def test_items_come_in_order(depth: int) -> None:
    assert list(prefetch(range(50), depth)) == list(range(50))
    assert list(prefetch([], depth)) == []
    assert list(prefetch([None, None], depth)) == [None, None]
    wait_until_no_thread_is_left()


def test_an_error_comes_where_its_item_would_have() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("broken")

    ahead = prefetch(items(), 8)
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(ahead)
    wait_until_no_thread_is_left()


def test_it_works_ahead_by_no_more_than_depth() -> None:
    made = []

    def items() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    ahead = prefetch(items(), 4)
    next(ahead)
    time.sleep(0.3)
    assert len(made) == 1 + 4 + 1  # one taken, four waiting, one in hand
    ahead.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("width", "height", "ahead"), [(320, 256, 16), (1920, 1080, 16), (7680, 4320, 2), (40_000, 4000, 1)]
)
def test_large_frames_wait_in_smaller_numbers(width: int, height: int, ahead: int) -> None:
    """All that wait take 256 MiB at most, but for a single one that is larger by itself."""
    frame_HW3 = np.broadcast_to(np.uint8(0), (height, width, 3))
    assert frames_ahead(frame_HW3) == ahead
    assert ahead == 1 or ahead * frame_HW3.nbytes <= 256 * 2**20
    made = []

    def frames() -> Iterator[NDArray[np.uint8]]:
        for i in range(40):
            made.append(i)
            yield frame_HW3

    coming = prefetch(frames(), frames_ahead)
    next(coming)
    deadline = time.monotonic() + 20
    while len(made) < 1 + ahead + 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    assert len(made) == 1 + ahead + 1  # one taken, some waiting, one in hand
    assert len(list(coming)) == 39
    wait_until_no_thread_is_left()


def test_the_next_item_is_made_while_one_is_worked_on() -> None:
    made = [threading.Event() for _ in range(10)]

    def items() -> Iterator[int]:
        for i, event in enumerate(made):
            event.set()
            yield i

    for i in prefetch(items(), 1):
        assert made[min(i + 1, 9)].wait(5)


def test_leaving_early_stops_the_thread_and_closes_the_source() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    for _ in prefetch(endless(), 2):
        break
    assert closed.wait(5)
    wait_until_no_thread_is_left()
