"""KineBERT: videos to Parquet shards, recognizers with late temporal modelling, and their orchestration on clusters.

All that the programs do can be done from Python, with ``kinebert.train(...)`` and so on, see :mod:`kinebert.functions`
and :mod:`kinebert.looking`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from kinebert import old_names

if TYPE_CHECKING:
    from kinebert.functions import (
        average,
        compare,
        doctor,
        evaluate,
        extract,
        extract_both,
        extract_pose,
        fuse,
        index,
        predict,
        register,
        train,
        tune,
    )
    from kinebert.looking import attend, describe, dry_run, recipes, show, verify

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
    module = "kinebert.looking" if name in _LOOKING else "kinebert.functions"
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
