"""What this code does on a GPU: its tests, its networks, flow and loaders measured, and what a recipe should set.

    python -m tests.gpu.run [tests] [networks] [flow] [feed] [--seconds 540] [--json gpu.json]

Each stage is a program (tests/gpu), prints as it goes, and is ended when its share of the time is over; what it leaves
is for the next ones. Nothing is downloaded. Where there is no CUDA device, every stage takes its way on a CPU,
with tiny work that measures nothing.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.gpu.advice import advice
from tests.helpers.paths import ROOT

STAGES = {
    "tests": ("tests.gpu.gpu_tests", 170.0),
    "networks": ("tests.gpu.networks", 220.0),
    "flow": ("tests.gpu.flow", 65.0),
    "feed": ("tests.gpu.feed", 60.0),
}
"""Program of each stage, and its share of the time."""
NEEDED = ("torch", "numpy", "cv2", "pyarrow", "pytest", "psutil")
HELPFUL = {
    "ray": "fractions of a GPU",
    "av": "tests that decode videos",
    "triton": "flow by kernels",
    "numba": "flow on CPUs, which tests compare with",
}
"""What is left out without a package."""
LEAST_S, GRACE_S, RESERVE_S = 5.0, 8.0, 12.0
"""Seconds that a stage has at least, by which it may be late, and that the end takes."""


def missing(names: Sequence[str] | Mapping[str, str]) -> list[str]:
    """Return the packages that this Python lacks."""
    return [name for name in names if importlib.util.find_spec(name) is None]


def run_stage(module: str, seconds: float, results: Path) -> int | None:
    """Run one stage, and return its status; None if it had to be ended."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    env = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", module, "--seconds", f"{seconds:.0f}", "--json", str(results)]
    process = subprocess.Popen(command, cwd=ROOT, env=env, start_new_session=True)
    try:
        return process.wait(seconds + GRACE_S)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):  # also what it started and did not end
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run(stages: Sequence[str], seconds: float, output: Path | None) -> int:
    """Run stages one after the other, print what follows from them, and return the exit status."""
    began, failed = time.monotonic(), False
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="kinebert-gpu-") as folder:
        for i, name in enumerate(stages):
            module, share = STAGES[name]
            left = seconds - RESERVE_S - (time.monotonic() - began)
            budget = max(LEAST_S, left * share / sum(STAGES[other][1] for other in stages[i:]) - GRACE_S)
            print(f"\n== {name}: at most {budget:.0f} s", flush=True)
            stage_began, results = time.monotonic(), Path(folder, f"{name}.json")
            status = run_stage(module, budget, results)
            found[name] = {"seconds": time.monotonic() - stage_began, "status": status}
            if results.exists():
                found[name] |= json.loads(results.read_text())
            failed |= status not in (0, None) or (status is None and name == "tests")
            words = {0: "done", None: "ended, its time was up"}.get(status, f"FAILED, status {status}")
            print(f"== {name}: {words} after {found[name]['seconds']:.0f} s", flush=True)
            if output is not None:
                output.write_text(json.dumps(found, indent=1) + "\n")
    tell(found, output)
    return int(failed)


def tell(found: Mapping[str, Any], output: Path | None) -> None:
    """Print what a recipe should set, and where the numbers are."""
    import torch

    print("\n== what a recipe should set")
    if not torch.cuda.is_available():
        print("nothing follows: there is no CUDA device here, and nothing was measured")
    else:
        print(*(advice(found) or ["nothing follows: no network, flow or feed was measured"]), sep="\n")
    if output is not None:
        print(f"the numbers: {output}", flush=True)


def main() -> int:
    """Read the command line, say what is here, and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", metavar="stage", help=f"of {', '.join(STAGES)}; all by default")
    parser.add_argument("--seconds", type=float, default=540.0, help="that all of it may take")
    parser.add_argument("--json", type=Path, help="write the numbers to this file, after each stage")
    options = parser.parse_args()
    unknown = [name for name in options.stages if name not in STAGES]
    if unknown:
        parser.error(f"{', '.join(unknown)}: no such stage; there are {', '.join(STAGES)}")
    lacking = missing(NEEDED)
    if lacking:
        print(
            f"{sys.executable} has no {', '.join(lacking)}. `make setup` makes a Python that has all; "
            "make gpu PYTHON=... takes another one.",
            file=sys.stderr,
        )
        return 2
    for name in missing(HELPFUL):
        print(f"{name} is not here: {HELPFUL[name]} are left out")
    import torch

    if not torch.cuda.is_available():
        print("There is no CUDA device that torch can use here. What can be tried without one is: nothing is measured.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a stage does not outlive this program
    return run(list(dict.fromkeys(options.stages)) or list(STAGES), options.seconds, options.json)


if __name__ == "__main__":
    sys.exit(main())
