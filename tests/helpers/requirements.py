"""Things that a machine may lack: a test that needs one is skipped there, or fails where it is required.

``KINEBERT_REQUIRE`` holds the words of :data:`WORDS` that must be there, with commas between them.
"""

import importlib
import os
from types import ModuleType
from typing import Any, NoReturn

import pytest

VARIABLE = "KINEBERT_REQUIRE"
WORDS = {
    "golden": "answers of published networks, in tests/golden",
    "clips": "real clips, in ../shared/data",
    "gpu": "a CUDA device that torch can use",
    "history": "the commits before, in a clone that is not shallow",
    "infra": "the programs that check infra/, of the extra of that name",
    "installed": "the command kinebert, installed",
    "jobs": "what ray[default] brings, to submit jobs",
    "kubectl": "kubectl, which puts kustomizations together",
    "mount": "the right to mount a small disk",
    "namespaces": "root, and a kernel that gives namespaces",
    "onnx": "onnx, onnxscript and onnxruntime",
    "opencv5": "OpenCV 5, whose warping is exact",
    "optuna": "optuna, of the extra tune",
    "pose": "the two files of BlazePose, ai-edge-litert, onnx and onnxruntime",
    "postgres": "the programs of PostgreSQL, and psycopg",
    "promtool": "promtool, of Prometheus",
    "ray": "ray, and av for its tasks",
    "s3": "moto, which acts as an S3 store",
    "script": "the script that the golden answers were made with, in ../shared/golden",
    "slurm": "Slurm's controller, daemon and clients",
    "system": "what Linux has: /proc, cores that a process is bound to, an arithmetic of the processor",
    "tensorboard": "tensorboard, of the extra of this name",
    "triton": "triton, which is for Linux",
}
"""What may be required, and what it is."""


def required() -> frozenset[str]:
    """Return the words of ``KINEBERT_REQUIRE``.

    Raises:
        pytest.UsageError: If one of them is unknown.
    """
    words = frozenset(word.strip() for word in os.environ.get(VARIABLE, "").split(",")) - {""}
    if words - WORDS.keys():
        unknown = ", ".join(sorted(words - WORDS.keys()))
        raise pytest.UsageError(f"{VARIABLE}: {unknown}: unknown; what can be required is {', '.join(sorted(WORDS))}")
    return words


def missing(word: str, problem: str) -> NoReturn:
    """Skip the test or module that is running, as this machine has no ``word``; fail it where that is required."""
    assert word in WORDS
    if word in required():
        pytest.fail(f"{VARIABLE} asks for {word} ({WORDS[word]}): {problem}", pytrace=False)
    pytest.skip(problem, allow_module_level=True)


def needs(word: str, there: bool, problem: str) -> Any:
    """Return a mark for tests that are nothing without ``word``; ``problem`` is what to say where it is not there."""
    return pytest.mark.needs(word, there, problem)


def imported(name: str, word: str) -> ModuleType:
    """Return the module ``name``, or do without the test as :func:`missing` says."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing(word, f"cannot import {name}: {error}")
