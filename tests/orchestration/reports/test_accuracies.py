"""A mean over splits is taken of tables that were made in one way."""

from typing import Literal

import numpy as np
import pytest

from kinebert.orchestration.reports.accuracies import split_table
from kinebert.preprocessing.errors import ConfigError
from kinebert.training.evaluation.evaluate import VideoScores
from kinebert.training.evaluation.fusion import fuse


def stream(split: str, modality: str, views: str) -> VideoScores:
    return VideoScores(
        video_ids=["a", "b"],
        labels=np.array([0, 1]),
        classes=["x", "y"],
        scores=np.array([[2, 1], [0, 3]], np.float32),
        num_clips=np.ones(2, np.int64),
        rejected=[],
        notes=[],
        about={"split": split, "part": "test", "modality": modality, "views": views},
    )


def fused(split: str, views: str, method: Literal["l2", "softmax"] = "l2") -> VideoScores:
    return fuse([stream(split, "rgb", views), stream(split, "flow", views)], method=method).scores


def test_fusions_of_one_kind_have_a_mean() -> None:
    lines = split_table([fused("split1", "multi-x10"), fused("split2", "multi-x10")]).lines()
    assert lines[-1].split()[:3] == ["mean", "4", "100.0"]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (fused("split2", "single"), r"differ in views \(multi-x10, single\)"),
        (fused("split2", "multi-x10", "softmax"), r"differ in method of fusion \(l2, softmax\)"),
        (stream("split2", "rgb", "multi-x10"), r"differ in modality \(rgb, rgb\+flow\)"),
        (fused("split1", "multi-x10"), r"split1/test was given twice"),
    ],
)
def test_others_have_none(other: VideoScores, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        split_table([fused("split1", "multi-x10"), other])
