"""One job at a time fills a folder."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.running import RUNNING_FILE, only_job
from tests.helpers.paths import ROOT

HOLD = """
import sys, time
from kinebert.preprocessing.running import only_job

with only_job(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(folder: Path) -> "subprocess.Popen[str]":
    """Start a process that holds ``folder`` until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_job_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    other = hold(tmp_path)
    with pytest.raises(UserError, match=rf"another job \(process {other.pid} on .*\) is filling this folder"):
        only_job(str(tmp_path)).__enter__()
    other.kill()
    other.wait()
    with only_job(str(tmp_path)):
        assert json.loads((tmp_path / RUNNING_FILE).read_text())["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("age_s", "refused"), [(10.0, True), (3600.0, False)])
def test_a_job_elsewhere_counts_while_it_gives_signs_of_life(tmp_path: Path, age_s: float, refused: bool) -> None:
    sign = {"host": "elsewhere", "pid": 1, "started": "1", "time": time.time() - age_s}
    (tmp_path / RUNNING_FILE).write_text(json.dumps(sign))
    if refused:
        with pytest.raises(UserError, match="process 1 on elsewhere"):
            only_job(str(tmp_path)).__enter__()
    else:
        with only_job(str(tmp_path)):
            pass


def test_a_damaged_mark_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / RUNNING_FILE).write_text("{")
    with only_job(str(tmp_path)):
        pass
