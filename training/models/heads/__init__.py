"""Temporal heads: what becomes of the time steps that a backbone leaves. One file per family.

BERT pooling is in :mod:`kinebert.training.models.heads.bert`.
"""

from kinebert.training.models.heads import bert_paths, concatenation, conv_gru, lstm, non_local  # noqa: F401  each registers its heads
from kinebert.training.models.heads.average import none, tgap

__all__ = ["none", "tgap"]
