"""KineBERT: videos to Parquet shards, recognizers with late temporal modelling, and their orchestration on clusters.

All that the programs do can be done from Python, with ``kinebert.train(...)`` and so on, see
:mod:`kinebert.extracting`, :mod:`kinebert.functions` and :mod:`kinebert.looking`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from kinebert import old_names

if TYPE_CHECKING:
    from kinebert.extracting import extract, extract_both, extract_pose, index
    from kinebert.functions import (
        average,
        compare,
        doctor,
        evaluate,
        fuse,
        predict,
        register,
        train,
        tune,
    )
    from kinebert.looking import attend, describe, dry_run, recipes, show, verify

_EXTRACTING = ("extract", "extract_both", "extract_pose", "index")
_LOOKING = ("attend", "describe", "dry_run", "recipes", "show", "verify")
__all__ = [
    "attend",
    "average",
    "compare",
    "describe",
    "doctor",
    "dry_run",
    "evaluate",
    "extract",
    "extract_both",
    "extract_pose",
    "fuse",
    "index",
    "predict",
    "recipes",
    "register",
    "show",
    "train",
    "tune",
    "verify",
]

__version__ = "0.1.0"
"""Also that of the wheel; ``kinebert --version`` tells the commit."""

old_names.forward()


def __getattr__(name: str) -> Any:  # torch and Ray are imported when they are needed
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "looking" if name in _LOOKING else "extracting" if name in _EXTRACTING else "functions"
    return getattr(importlib.import_module(f"kinebert.{module}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
