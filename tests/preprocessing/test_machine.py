"""Cores are those that the process may use, not those that the machine has."""

import os
import subprocess
import sys

import pytest

from kinebert.preprocessing.machine import available_cores
from tests.helpers.paths import ROOT
from tests.helpers.requirements import needs


@needs("system", hasattr(os, "sched_setaffinity"), "this system binds no process to cores")
def test_a_process_that_is_bound_to_one_core_has_one() -> None:
    code = "import os; from kinebert.preprocessing.machine import available_cores as a\n" + (
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(a())"
    )
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "1\n"


def test_where_nothing_is_bound_it_is_what_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert available_cores() == 12
    monkeypatch.setattr(os, "cpu_count", lambda: None)  # unknown
    assert available_cores() == 1
