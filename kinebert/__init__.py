"""KineBERT: videos to Parquet shards, recognizers with late temporal modelling, and their orchestration on clusters.

All that the programs do can be done from Python, with ``kinebert.train(...)`` and so on, see :mod:`kinebert.functions`.
"""

from typing import TYPE_CHECKING, Any

from kinebert import old_names

if TYPE_CHECKING:
    from kinebert.functions import compare, doctor, evaluate, extract, extract_both, fuse, index, predict, train, tune

__all__ = ["compare", "doctor", "evaluate", "extract", "extract_both", "fuse", "index", "predict", "train", "tune"]

__version__ = "0.1.0"
"""Also that of the wheel; ``kinebert --version`` tells the commit."""

old_names.forward()


def __getattr__(name: str) -> Any:  # torch and Ray are imported when they are needed
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kinebert import functions

    return getattr(functions, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
