"""What temporal modelling adds, on figures worked out by hand and on the papers' own."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.training.evaluation.evaluate import VideoScores
from kinebert.training.evaluation.temporal_gain import (
    ClassGains,
    average_effects,
    class_gains,
    gain_correlation,
    overlap,
    spatial_contribution,
    temporal_improvement,
)
from kinebert.training.evaluation.view_scores import About
from tests.helpers.compared import make_scores

NAMES = ["open", "close", "left", "right", "still"]


def gains(accuracy: Sequence[float], baseline: Sequence[float]) -> ClassGains:
    return ClassGains(classes=NAMES[: len(accuracy)], accuracies=np.array(accuracy), baselines=np.array(baseline))


def scores(right: Sequence[Sequence[bool]]) -> VideoScores:
    """Scores of so many videos of each class, right or not."""
    labels = [label for label, flags in enumerate(right) for _ in flags]
    flags = [flag for each in right for flag in each]
    plain = make_scores(1.0, num_videos=len(labels), classes=NAMES[: len(right)])
    taken = [label if flag else (label + 1) % len(right) for label, flag in zip(labels, flags, strict=True)]
    return VideoScores(
        video_ids=plain.video_ids,
        labels=np.array(labels),
        scores=np.eye(len(right), dtype=np.float32)[taken],
        num_clips=plain.num_clips,
        classes=plain.classes,
        rejected=[],
        about=plain.about,
    )


def test_the_papers_example() -> None:
    """TAM-ResNet50 beside TSN on Mini-SSV2: .551 as printed; its .539 is that of 38.6 %, a slip for the 36.8 %."""
    assert temporal_improvement(0.716, 0.368) == pytest.approx(0.551, abs=5e-4)
    assert spatial_contribution(0.716, 0.386) == pytest.approx(0.539, abs=5e-4)
    assert spatial_contribution(0.716, 0.368) == pytest.approx(0.514, abs=5e-4)


def test_time_that_harms() -> None:
    assert spatial_contribution(0.4, 0.5) == 1
    assert temporal_improvement(0.4, 0.5) == pytest.approx(-0.2)


@pytest.mark.parametrize(("accuracy", "expected"), [(1.0, 0.0), (0.75, -0.25)])
def test_nothing_is_left_to_add_to_a_baseline_that_is_always_right(accuracy: float, expected: float) -> None:
    assert temporal_improvement(accuracy, 1.0) == expected


def test_effects_are_means_over_models() -> None:
    effects = average_effects([(0.8, 0.4), (0.4, 0.5)])
    assert effects.spatial == pytest.approx((0.5 + 1) / 2)
    assert effects.temporal == pytest.approx((0.4 / 0.6 - 0.2) / 2)
    assert effects.num_models == 2
    with pytest.raises(UserError, match="no model has its baseline"):
        average_effects([])


def test_gains_of_classes_are_differences_of_their_accuracies() -> None:
    model = scores([[True, True], [True, False], [True, True]])
    baseline = scores([[False, False], [True, False], [False, True]])
    found = class_gains(model, baseline)
    assert found.gains.tolist() == [1.0, 0.0, 0.5]
    assert found.temporal_classes(2) == [0, 2]
    assert found.static_classes(2) == [1, 2]
    assert found.average_gain() == pytest.approx(0.5)
    assert found.average_gain([0, 2]) == pytest.approx(0.75)


def test_a_class_without_videos_is_neither_temporal_nor_static() -> None:
    found = gains([1.0, float("nan"), 0.2], [0.5, float("nan"), 0.9])
    assert found.temporal_classes(2) == [0, 2]
    assert found.average_gain() == pytest.approx((0.5 - 0.7) / 2)
    with pytest.raises(ConfigError, match="3 classes were asked for; there are 2 with videos"):
        found.static_classes(3)


def test_what_was_tested_otherwise_is_not_compared() -> None:
    model = scores([[True], [True]])
    for key, other in (("part", "val"), ("split", "split2"), ("views", "centre")):
        changed = replace(model, about=cast(About, {**model.about, key: other}))
        with pytest.raises(UserError, match=f"on the same {key}"):
            class_gains(model, changed)
    with pytest.raises(UserError, match="on the same videos: evaluate both alike"):
        class_gains(model, scores([[True], [True, True]]))


def test_gains_correlate_as_pearson_has_it() -> None:
    rng = np.random.default_rng(0)
    each = [gains(rng.random(5).tolist(), rng.random(5).tolist()) for _ in range(3)]
    np.testing.assert_allclose(gain_correlation(each), np.corrcoef([one.gains for one in each]), atol=1e-12)
    flat = gains([0.5] * 5, [0.25] * 5)
    assert np.isnan(gain_correlation([each[0], flat])[0, 1])


def test_lists_overlap_by_the_classes_that_they_share() -> None:
    assert overlap(["a", "b", "c", "d"], ["d", "e", "a"]) == 0.5
    assert np.isnan(overlap([], ["a"]))
