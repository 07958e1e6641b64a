"""What a machine lacks is skipped, or fails where it is required."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import requirements
from tests.helpers.paths import ROOT

TESTS = """
import pytest
from tests.helpers.requirements import imported, missing, needs

def test_in_the_body() -> None:
    missing("clips", "no clips here")

@needs("gpu", False, "no device here")
def test_marked() -> None:
    raise AssertionError

@needs("gpu", True, "no device here")
def test_marked_and_there() -> None:
    pass

def test_module() -> None:
    assert imported("json", "onnx").dumps(1) == "1"
    imported("there_is_no_such_module", "onnx")
"""
MODULE = """
from tests.helpers.requirements import missing
missing("triton", "no triton here")
def test_never() -> None: ...
"""


def outcome(folder: Path, require: str | None) -> str:
    """Return what pytest prints about the two modules above, with our own conftest."""
    (folder / "conftest.py").write_text("from tests.conftest import pytest_configure, pytest_runtest_setup\n")
    (folder / "test_some.py").write_text(TESTS)
    (folder / "test_whole.py").write_text(MODULE)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop(requirements.VARIABLE, None)
    if require is not None:
        environment[requirements.VARIABLE] = require
    options = ["-q", "-rA", "-p", "no:cacheprovider", "--strict-markers", "--rootdir", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(folder)], capture_output=True, text=True, env=environment
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("require", [None, "", "golden", " golden , history,"])
def test_what_is_missing_and_not_required_is_skipped(tmp_path: Path, require: str | None) -> None:
    printed = outcome(tmp_path, require)
    assert "1 passed, 4 skipped" in printed
    for problem in ("no clips here", "no device here", "no triton here", "cannot import there_is_no_such_module"):
        assert problem in printed


def test_what_is_missing_and_required_fails(tmp_path: Path) -> None:
    printed = outcome(tmp_path, "gpu, clips")
    assert "1 passed" in printed
    assert "2 skipped" in printed  # onnx and triton
    assert "KINEBERT_REQUIRE asks for clips (real clips, in ../shared/data): no clips here" in printed
    assert "KINEBERT_REQUIRE asks for gpu (a CUDA device that torch can use): no device here" in printed
    whole = outcome(tmp_path, "triton,onnx")
    assert "KINEBERT_REQUIRE asks for triton (triton, which is for Linux): no triton here" in whole
    assert "1 error" in whole


def test_an_unknown_word_is_refused_before_anything_runs(tmp_path: Path) -> None:
    printed = outcome(tmp_path, "golden,clip")
    assert "ERROR: KINEBERT_REQUIRE: clip: unknown; what can be required is clips, golden, gpu," in printed
    assert "passed" not in printed


def test_every_skip_goes_through_the_helper() -> None:
    """But of what is not missing: a test for machines without a GPU, a parameter for which there is nothing to do."""
    others = {
        "tests/orchestration/jobs/test_flow_actors.py",
        "tests/orchestration/jobs/test_submit.py",
        "tests/orchestration/ray_train/test_workers.py",
        "tests/preprocessing/tvl1/interpreted_kernels.py",
        "tests/helpers/requirements.py",
        "tests/test_requirements.py",
    }
    words = ("pytest.skip(", "skipif", "importorskip")
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("*.py")
        if any(word in path.read_text() for word in words)
    }
    assert found <= others, "what may be missing goes through tests.helpers.requirements"
