"""The papers' tables, beside our networks: sizes, accuracies, and the recipe that trains a row. One file per paper.

Where a printed size is not ours, ``cause`` says why, and the printed figure is computed from it; a test compares.
"""

from kinebert.training.models.sizes.papers import (
    chen2021,
    eccv2020,
    garg2021,
    metu2020_appendix,
    metu2020_clips,
    metu2020_distillation,
    metu2020_frames,
    mtconv2021,
)
from kinebert.training.models.sizes.papers.rows import HMDB51_CLASSES, Row, Table, printed

__all__ = ["HMDB51_CLASSES", "TABLES", "Row", "Table", "printed"]

TABLES: tuple[Table, ...] = (
    *eccv2020.TABLES,
    *metu2020_frames.TABLES,
    *metu2020_clips.TABLES,
    *metu2020_distillation.TABLES,
    *metu2020_appendix.TABLES,
    *garg2021.TABLES,
    *chen2021.TABLES,
    *mtconv2021.TABLES,
)
"""Every table, in the order of the pages."""
