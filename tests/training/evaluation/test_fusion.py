"""Fusion of streams against hand-worked numbers."""

import math
from typing import cast

import numpy as np
import pytest

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.training.evaluation.evaluate import VideoScores
from kinebert.training.evaluation.fusion import fit_weights, fuse, subsets, unit_scores
from kinebert.training.evaluation.view_scores import About


def table(
    scores: list[list[float]], ids: str = "abc", labels: tuple[int, ...] = (0, 1, 1), **about: str
) -> VideoScores:
    return VideoScores(
        video_ids=list(ids),
        labels=np.array(labels[: len(ids)]),
        scores=np.array(scores, np.float32),
        num_clips=np.ones(len(ids), np.int64),
        classes=["open", "close"],
        about=cast(About, about),
    )


def test_fusion_by_hand() -> None:
    rgb = table([[3, 4], [0, 2], [-5, 12]], modality="rgb")  # norms 5, 2, 13
    flow = table([[8, 6], [1, 0], [0, 0]], modality="flow")  # norms 10, 1, 0
    result = fuse([rgb, flow])
    np.testing.assert_allclose(result.scores.scores, np.array([[1.4, 1.4], [1, 1], [-5 / 13, 12 / 13]]), rtol=1e-6)
    assert result.scores.about["modality"] == "rgb+flow"
    assert result.scores.num_clips.tolist() == [2, 2, 2]
    weighted = fuse([rgb, flow], [1, 0.5]).scores
    np.testing.assert_allclose(weighted.scores[0], [0.6 + 0.4, 0.8 + 0.3], rtol=1e-6)
    assert weighted.metrics().top[1] == pytest.approx(2 / 3)  # a: 1.0 < 1.1, wrong; b and c right


def test_the_scale_of_a_stream_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(3, 2)).astype(np.float32) for _ in range(2))
    np.testing.assert_allclose(
        fuse([table(a), table(1000 * b)]).scores.scores,  # type: ignore[arg-type]
        fuse([table(a), table(b)]).scores.scores,  # type: ignore[arg-type]
        rtol=1e-5,
    )
    np.testing.assert_allclose(np.linalg.norm(unit_scores(a), axis=1), 1)


def test_videos_are_matched_by_name_and_missing_ones_named() -> None:
    rgb = table([[1, 0], [0, 1], [0, 1]], ids="abc")
    flow = table([[0, 1], [1, 0]], ids="ca", labels=(1, 0))
    result = fuse([rgb, flow])
    assert result.scores.video_ids == ["a", "c"]
    np.testing.assert_allclose(result.scores.scores, [[2, 0], [0, 2]])
    assert result.missing == [[], ["b"]]
    assert result.notes() == ["stream 2 has no score for 1 of 3 videos, which are left out: b"]


def test_streams_that_do_not_fit_are_refused() -> None:
    a = table([[1, 0], [0, 1], [0, 1]], part="val")
    other = table([[1, 0], [0, 1], [0, 1]], part="val")
    other.classes[1] = "shut"
    with pytest.raises(UserError, match=r"different classes \(2 and 2; first difference: 'close', 'shut'\)"):
        fuse([a, other])
    with pytest.raises(UserError, match="1 of 3 videos different labels, the first is b"):
        fuse([a, table([[1, 0]] * 3, labels=(0, 0, 1), part="val")])
    with pytest.raises(UserError, match="part 'val' and 'test'"):
        fuse([a, table([[1, 0]] * 3, part="test")])
    with pytest.raises(UserError, match="no video has a score in every stream"):
        fuse([a, table([[1, 0]] * 3, ids="xyz", part="val")])
    with pytest.raises(ConfigError, match="one weight"):
        fuse([a, a], [1.0])
    with pytest.raises(ConfigError, match="2 or more score tables, got 1"):
        fuse([a])


def test_a_mean_of_probabilities_is_one_again() -> None:
    rgb = table([[math.log(3), 0], [0, 0], [0, 0]], modality="rgb")  # probabilities 0.75, 0.25
    flow = table([[0.2, 0.8], [0.5, 0.5], [1, 0]], modality="flow", scale="probabilities")
    fused = fuse([rgb, flow], [1, 3], "softmax").scores
    np.testing.assert_allclose(fused.scores[0], [(0.75 + 0.6) / 4, (0.25 + 2.4) / 4], rtol=1e-6)
    np.testing.assert_allclose(fused.scores.sum(axis=1), 1, rtol=1e-6)
    assert (fused.scale, fused.about["method"]) == ("probabilities", "softmax")
    assert np.isfinite(fused.metrics().ece)
    sums = fuse([rgb, flow]).scores
    assert sums.scale == "sums"
    assert np.isnan(sums.metrics().ece)
    with pytest.raises(UserError, match="stream 1 is a fusion of L2-normalised scores without a temperature"):
        fuse([sums, rgb], method="softmax")


def test_three_streams_and_ensembles() -> None:
    streams = [table([[3, 4], [0, 2], [-5, 12]], modality=name) for name in ("rgb", "flow", "pose")]
    fused = fuse(streams, [1, 2, 3]).scores
    np.testing.assert_allclose(fused.scores[0], [6 * 0.6, 6 * 0.8], rtol=1e-6)
    assert fused.about["modality"] == "rgb+flow+pose"


def test_weights_are_found_on_validation() -> None:
    labels = tuple(i % 2 for i in range(12))
    right = np.eye(2)[list(labels)]
    good, bad = table(right, "abcdefghijkl", labels), table(1 - right, "abcdefghijkl", labels)  # type: ignore[arg-type]
    weights = fit_weights([bad, good])
    assert sum(weights) == pytest.approx(1)
    assert weights == [0.45, 0.55]  # the first that are all right, and the most even of them
    assert fuse([bad, good], weights).scores.metrics().top[1] == 1.0
    assert fit_weights([good, good]) == [0.5, 0.5]
    assert fit_weights([good] * 3, "softmax") == pytest.approx([1 / 3] * 3, abs=0.05)
    assert len(fit_weights([good] * 7)) == 7


def test_every_subset() -> None:
    assert subsets(3) == [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
    assert len(subsets(6)) == 63
    assert len(subsets(7)) == 7 + 7 + 1
