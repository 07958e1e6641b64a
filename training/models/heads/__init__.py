"""Temporal heads: what becomes of the time steps that a backbone leaves. One file per family.

Every module here is found by itself, and registers what it has. BERT pooling is in
:mod:`kinebert.training.models.heads.bert`.
"""

from kinebert.preprocessing.discovery import modules_of

modules_of(__name__)
