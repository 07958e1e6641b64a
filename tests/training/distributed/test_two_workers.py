"""Two real processes over gloo train like one: same clips in the same batches, same numbers, resume included."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import two_workers
from tests.helpers.paths import ROOT


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return two_workers.run(0, 1, str(tmp_path_factory.mktemp("one")))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("two")
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "GLOO_SOCKET_IFNAME": "lo"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.two_workers", str(rank), output / "rendezvous", output],
            env=env,
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=120)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    return output


@pytest.fixture(scope="module")
def reports(two: Path) -> list[dict[str, Any]]:
    return [json.loads((two / f"rank{rank}.json").read_text()) for rank in range(2)]


def test_the_same_clips_meet_in_the_same_batches(one: dict[str, Any], reports: list[dict[str, Any]]) -> None:
    assert len(one["steps"]) == 6
    for whole, first, second in zip(one["steps"], reports[0]["steps"], reports[1]["steps"], strict=True):
        assert len(first) == len(second) == 4
        assert [*first[:2], *second[:2], *first[2:], *second[2:]] == whole  # micro-batches of 2, dealt out in turn


def test_both_report_the_same_and_what_one_process_reports(one: dict[str, Any], reports: list[dict[str, Any]]) -> None:
    names = set(one["history"][0]) - {"seconds", "clips_per_s"}
    for alone, first, second in zip(one["history"], reports[0]["history"], reports[1]["history"], strict=True):
        assert {name: first[name] for name in names} == {name: second[name] for name in names}
        # the same dropout and masks; only the order of sums differs
        assert first["train_loss"] == pytest.approx(alone["train_loss"], rel=1e-4)
        assert first["train_top1"] == alone["train_top1"]


def test_a_run_that_two_began_goes_on_with_one(two: Path, one: dict[str, Any]) -> None:
    rest = two_workers.run(0, 1, str(two / "killed"))
    done = rest["resumed"][1]
    assert done in (1, 2)
    assert rest["steps"] == one["steps"][done:]
    assert rest["history"][0]["train_loss"] == pytest.approx(one["history"][0]["train_loss"], rel=1e-4)
