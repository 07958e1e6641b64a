"""The tests that are marked `gpu`, each printed as it ends.

    python -m tests.gpu.gpu_tests [--seconds 170] [--json tests.json]

Where there is no CUDA device, all of them are imported, and skip themselves.
"""

import re
import sys
from collections import Counter
from typing import Any

import pytest

from tests.gpu.stage import Stage, stage_of
from tests.helpers.paths import ROOT
from tests.helpers.requirements import VARIABLE

LAST = "tests/preprocessing"
"""The kernels of flow: the most tests, and those that are the longest here."""


def marked() -> list[str]:
    """Files that hold such tests, those of training first."""
    paths = [path for path in (ROOT / "tests").rglob("test_*.py") if re.search(r"\bmark\.gpu\b", path.read_text())]
    return sorted((str(path.relative_to(ROOT)) for path in paths), key=lambda path: (path.startswith(LAST), path))


class Outcomes:
    """Writes down what each test came to, and ends the session when its time is up."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.found: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest after each phase of a test."""
        if report.when == "call" or report.outcome != "passed":
            self.found[report.nodeid] = report.outcome
            self.stage.keep(outcomes=self.found)

    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        """Called by pytest before each test."""
        if self.stage.left() < 0:
            item.session.shouldstop = "the time is up"


def main(stage: Stage) -> int:
    """Run the tests, and return the exit status."""
    outcomes = Outcomes(stage)
    with pytest.MonkeyPatch.context() as patch:
        if not stage.is_tiny:
            patch.setenv(VARIABLE, "gpu")
        options: list[Any] = [
            "-q" if stage.is_tiny else "-v",
            "-m",
            "gpu",
            "-p",
            "no:cacheprovider",
            "--tb=short",
            *marked(),
        ]
        status = int(pytest.main(options, plugins=[outcomes]))
    counts = Counter(outcomes.found.values())
    is_cut = stage.left() < 0
    stage.keep(counts=dict(counts), is_cut=is_cut)
    if stage.is_tiny:
        print(f"without a CUDA device: {counts['skipped']} tests were imported, and skipped themselves")
    elif is_cut:
        print("the time was up before all tests had run: make gpu STAGES=tests gives them all of it")
    return status


if __name__ == "__main__":
    sys.exit(main(stage_of(__doc__)))
