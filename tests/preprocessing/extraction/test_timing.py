"""What stages cost is added up over threads; when nobody asks, nothing happens."""

import threading
import time

import pytest

from kinebert.preprocessing.extraction.timing import OFF, Timing


def work(timing: Timing) -> None:
    for _ in range(5):
        with timing.stage("work"):
            end = time.thread_time() + 0.01
            while time.thread_time() < end:
                pass
        with timing.stage("wait"):
            time.sleep(0.01)


def test_stages_add_up_over_threads() -> None:
    timing = Timing()
    threads = [threading.Thread(target=work, args=(timing,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = timing.result("me")
    assert (found.worker, sorted(found.stages)) == ("me", ["wait", "work"])
    assert found.stages["work"].cpu_s == pytest.approx(0.1, abs=0.02)
    assert found.stages["work"].wall_s >= 0.1
    assert found.stages["wait"].cpu_s < 0.05
    assert found.stages["wait"].wall_s >= 0.1
    assert 0.05 < found.end - found.start < 60


def test_an_error_is_measured_and_raised() -> None:
    timing = Timing()
    with pytest.raises(KeyError), timing.stage("work"):
        raise KeyError
    assert timing.result("me").stages["work"].wall_s > 0


def test_off_costs_next_to_nothing() -> None:
    start = time.perf_counter()
    for _ in range(10_000):
        with OFF.stage("work"):
            pass
    assert time.perf_counter() - start < 0.1  # measured 0.002
