"""Sizes of networks of pictures under temporal modules, against the tables of those who compared them.

``tests/golden/benchmark_mini.csv`` holds the numbers of ``benchmark_mini.md`` in IBM/action-recognition-pytorch, commit
c88e74b: 288 models of "Deep analysis of CNN-based spatio-temporal representations", arXiv:2010.11757, section 5.1,
which that page prints twice. Flops are multiply-adds of convolutions at 224x224.
"""

import csv
from dataclasses import dataclass
from functools import cache

import pytest

from kinebert.training.models.sizes.measure import Sizes, sizes_of
from tests.helpers import golden

SLIP = 232_967_168
"""What the table lacks of seven inflated Inception-V1 without pooling, whatever their frames: their others agree."""


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    data: str
    classes: int
    temporal: str
    backbone: str
    pooling: bool
    frames: int
    flops: int
    parameters: int

    def __str__(self) -> str:
        pooled = "-pooled" if self.pooling else ""
        return f"{self.data}-{self.temporal}-{self.backbone}{pooled}-{self.frames}"

    @property
    def has_slip(self) -> bool:
        plain = (self.temporal, self.backbone, self.pooling) == ("conv3d", "inceptionv1", False)
        return plain and (self.frames < 32 or (self.data, self.frames) == ("mini_st2stv2", 32))


def rows() -> list[Row]:
    with (golden.FOLDER / "benchmark_mini.csv").open() as file:
        return [
            Row(
                data=row["data"],
                classes=int(row["classes"]),
                temporal=row["temporal"],
                backbone=row["backbone"],
                pooling=row["temporal_pooling"] == "true",
                frames=int(row["frames"]),
                flops=int(row["flops"]),
                parameters=int(row["parameters"]),
            )
            for row in csv.DictReader(file)
        ]


@cache
def sizes(backbone: str, temporal: str, pooling: bool, frames: int, classes: int, size: int = 224) -> Sizes:
    return sizes_of(
        backbone=backbone,
        backbone_options={"temporal": temporal, "temporal_pooling": pooling},
        head="tgap",
        num_classes=classes,
        clip_length=frames,
        size=size,
    )


def agrees(row: Row) -> None:
    found = sizes(row.backbone, row.temporal, row.pooling, row.frames, row.classes)
    assert found.parameters == row.parameters
    assert found.operations["conv"] == row.flops + (SLIP if row.has_slip else 0)


@pytest.mark.parametrize("row", rows()[::13], ids=str)
def test_sizes_are_those_of_the_table(row: Row) -> None:
    agrees(row)


@pytest.mark.slow
def test_every_size_is_that_of_the_table() -> None:
    found = rows()
    assert len(found) == 288
    assert sum(row.has_slip for row in found) == 7
    for row in found:
        agrees(row)


@pytest.mark.parametrize(
    ("temporal", "depth", "gflops"),
    [("conv3d", 50, 335.3), ("tam", 50, 171.5), ("conv3d", 101, 654.7), ("tam", 101, 327.1)],
)
def test_sizes_of_the_best_are_those_of_the_paper(temporal: str, depth: int, gflops: float) -> None:
    """Table 6: 32 frames of 256x256, cut after the first decimal."""
    found = sizes(f"resnet{depth}", temporal, False, 32, 400, 256)
    assert int(found.macs / 1e8) / 10 == gflops


@pytest.mark.parametrize(
    ("name", "backbone", "temporal", "pooling", "frames"),
    [
        ("i3d_resnet50_f32", "resnet50", "conv3d", False, 32),
        ("i3d_resnet50_ts_f32", "resnet50", "conv3d", True, 32),
        ("i3d_inceptionv1_f32", "inceptionv1", "conv3d", False, 32),
        ("s3d_resnet18_f8", "resnet18", "conv1d", False, 8),
        ("s3d_resnet50_f32", "resnet50", "conv1d", False, 32),
        ("tam_inceptionv1_f8", "inceptionv1", "tam", False, 8),
        ("tam_resnet101_f8", "resnet101", "tam", False, 8),
        ("tam_resnet18_f8", "resnet18", "tam", False, 8),
        ("tsn_resnet50_f8", "resnet50", "none", False, 8),
    ],
)
def test_sizes_of_variants_are_those_that_were_measured(
    name: str, backbone: str, temporal: str, pooling: bool, frames: int
) -> None:
    """Of the published program with 51 classes, 224x224: parameters in millions, multiply-adds in billions."""
    parameters, gmacs = MEASURED[name]
    found = sizes(backbone, temporal, pooling, frames, 51)
    assert round(found.parameters / 1e6, 3) == parameters
    assert round(found.macs / 1e9, 4) == pytest.approx(gmacs, abs=2e-4 + frames * 1.1e-4)  # their fc is run per frame


MEASURED = {
    "i3d_resnet50_f32": (46.266, 256.7246),
    "i3d_resnet50_ts_f32": (46.266, 117.8410),
    "i3d_inceptionv1_f32": (12.340, 135.2280),
    "s3d_resnet18_f8": (15.407, 21.3294),
    "s3d_resnet50_f32": (27.411, 158.0746),
    "tam_inceptionv1_f8": (5.670, 12.0474),
    "tam_resnet101_f8": (42.696, 62.6125),
    "tam_resnet18_f8": (11.207, 14.5310),
    "tsn_resnet50_f8": (23.613, 32.6979),
}
