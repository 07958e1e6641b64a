"""Probabilities of fused scores, against numbers worked out by hand."""

import math
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.preprocessing.errors import UserError
from kinebert.training.evaluation.calibration import calibrate, calibrated, fit_temperature, own_temperature
from kinebert.training.evaluation.evaluate import VideoScores
from kinebert.training.evaluation.fusion import fuse
from kinebert.training.evaluation.metrics import label_ranks, probabilities
from kinebert.training.evaluation.view_scores import About


def table(scores: Any, labels: Any, **about: Any) -> VideoScores:
    return VideoScores(
        video_ids=[f"v{i:03d}" for i in range(len(labels))],
        labels=np.array(labels),
        scores=np.array(scores, np.float32),
        num_clips=np.ones(len(labels), np.int64),
        classes=[f"c{k}" for k in range(np.shape(scores)[1])],
        about=cast(About, {"split": "split1", "part": "val", **about}),
    )


def noisy(seed: int, num: int = 60, classes: int = 5, share: float = 0.7, **about: Any) -> VideoScores:
    rng = np.random.default_rng(seed)
    labels = np.arange(num) % classes
    taken = np.where(rng.random(num) < share, labels, rng.integers(0, classes, num))
    return table(rng.normal(size=(num, classes)) + 4 * np.eye(classes)[taken], labels, **about)


def log_loss(scores_VK: NDArray[Any], labels: Any, temperature: float) -> float:
    shares = probabilities(scores_VK, temperature=temperature)
    return float(-np.log(shares[np.arange(len(labels)), labels]).mean())


def test_two_videos_of_two_classes_by_hand() -> None:
    """One is right by 1, one wrong by 1/2. With x = exp(1 / 2T) the derivative is 0 where x^3 - x - 2 is."""
    scores, labels = np.array([[1.0, 0.0], [0.5, 0.0]]), np.array([0, 1])
    x = 1.5213797068045676
    assert x**3 - x - 2 == pytest.approx(0, abs=1e-12)
    found = fit_temperature(scores, labels, "sums")
    assert found == pytest.approx(1 / (2 * math.log(x)), rel=1e-6)
    grid = np.arange(0.5, 3, 0.001)
    best = grid[np.argmin([log_loss(scores, labels, temperature) for temperature in grid])]
    assert found == pytest.approx(best, abs=0.001)


def test_two_videos_that_are_right_are_worth_three_quarters() -> None:
    """No temperature is the likeliest; (2 + 1) / (2 + 2) to (1 - that) is 3 to 1."""
    assert fit_temperature(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1]), "sums") == pytest.approx(
        1 / math.log(3)
    )


def test_videos_that_are_wrong_make_all_classes_alike_and_nothing_to_tell_makes_no_difference() -> None:
    scores = np.array([[1.0, 0.0], [0.0, 1.0]])
    flat = probabilities(scores, temperature=fit_temperature(scores, np.array([1, 0]), "sums"))
    np.testing.assert_allclose(flat, 0.5, atol=1e-3)
    assert flat.argmax(axis=1).tolist() == [0, 1]
    assert fit_temperature(np.ones((3, 2)), np.array([0, 1, 1]), "sums") == 1
    assert fit_temperature(np.zeros((0, 2)), np.zeros(0, int), "sums") == 1
    broken = np.concatenate([scores, [[np.nan, 0.0], [9.0, 0.0]]])
    assert fit_temperature(broken, np.array([0, 1, 0, -1]), "sums") == pytest.approx(1 / math.log(3))


@pytest.mark.parametrize("method", ["l2", "softmax"])
def test_no_temperature_nearby_makes_the_labels_likelier(method: Any) -> None:
    fused = fuse([noisy(1), noisy(2)], [1, 2], method).scores
    temperature = fit_temperature(fused.scores, fused.labels, fused.scale)
    evidence = np.log(fused.scores.astype(float)) if method == "softmax" else fused.scores
    best = log_loss(evidence, fused.labels, temperature)
    for other in np.geomspace(temperature / 5, temperature * 5, 401):
        assert log_loss(evidence, fused.labels, other) >= best - 1e-12
    assert fit_temperature(fused.scores, fused.labels, fused.scale) == temperature


@pytest.mark.parametrize("method", ["l2", "softmax"])
@pytest.mark.parametrize("with_validation", [True, False])
def test_probabilities_sum_to_1_and_no_order_changes(method: Any, with_validation: bool) -> None:
    streams = [noisy(3, part="test"), noisy(4, part="test")]
    validation = [noisy(1), noisy(2)] if with_validation else []
    fused = fuse(streams, None, method).scores
    found = calibrated(fused, calibrate(streams, None, method, validation))
    np.testing.assert_array_equal(found.scores, fused.scores)
    shares = found.probabilities()
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(label_ranks(shares, fused.labels), label_ranks(fused.scores, fused.labels))
    assert found.metrics().top == fused.metrics().top
    assert 0 <= found.metrics().ece <= 1


def test_what_validation_says_of_it() -> None:
    validation = [noisy(1, num=400, share=0.8), noisy(2, num=400, share=0.8)]
    found = calibrate([], None, "l2", validation)
    assert found.ece_before is not None
    assert found.ece_after is not None
    assert found.ece_after < found.ece_before / 3  # sums are far from how often they are right
    assert (found.chosen_on, found.num_videos) == ("split1/val", 400)
    assert found.sentence() == (
        f"probabilities: softmax at temperature {found.temperature:.3g}, chosen on 400 videos of split1/val "
        f"(ECE there {100 * found.ece_before:.1f} before, {100 * found.ece_after:.1f} after)"
    )


def test_without_validation_a_fusion_is_as_sure_as_its_streams() -> None:
    logits = np.array([[3.0, 4.0], [4.0, -3.0]])  # both of length 5
    stream = table(logits, [0, 1])
    for weights in ([1, 1], [2, 5]):
        fused = calibrated(fuse([stream, stream], weights).scores, calibrate([stream, stream], weights, "l2"))
        np.testing.assert_allclose(fused.probabilities(), probabilities(logits), rtol=1e-5)
    shares = table(probabilities(logits), [0, 1], scale="probabilities")
    one = table(shares.scores[:1], [0], scale="probabilities")
    fused = calibrated(fuse([one, one]).scores, calibrate([one, one], None, "l2"))
    np.testing.assert_allclose(fused.probabilities(), one.scores, rtol=1e-5)
    assert own_temperature([shares, shares], None, "softmax") == 1
    found = calibrate([stream, stream], None, "l2", (), "nobody evaluated")
    assert found.sentence().endswith("as sure as the streams' own scores; not calibrated: nobody evaluated")


def test_streams_that_are_sure_of_different_classes_leave_the_fusion_unsure() -> None:
    rgb, flow = table([[9.0, 0.0]], [0]), table([[0.0, 9.0]], [0])
    fused = calibrated(fuse([rgb, flow]).scores, calibrate([rgb, flow], None, "l2"))
    np.testing.assert_allclose(fused.probabilities(), 0.5)


def test_a_fusion_with_a_temperature_is_a_stream_of_probabilities() -> None:
    rgb, flow = noisy(1), noisy(2)
    sums = fuse([rgb, flow]).scores
    with pytest.raises(UserError, match="without a temperature"):
        fuse([sums, rgb], method="softmax")
    inner = calibrated(sums, calibrate([rgb, flow], None, "l2"))
    outer = fuse([inner, rgb], method="softmax").scores
    np.testing.assert_allclose(outer.scores, (inner.probabilities() + probabilities(rgb.scores)) / 2, rtol=1e-5)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_a_damaged_temperature_is_none(temperature: float) -> None:
    sums = fuse([noisy(1), noisy(2)]).scores
    sums.about["temperature"] = temperature
    assert sums.temperature is None
