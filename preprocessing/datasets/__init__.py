"""Readers of data sets' own lists; each ends in the manifest table."""

from kinebert.preprocessing.datasets import readers  # noqa: F401  whatever lies there registers itself
from kinebert.preprocessing.datasets.registry import READERS

__all__ = ["READERS"]
