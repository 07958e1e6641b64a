"""What temporal modelling adds to frames by themselves: of whole models, and class by class. From stored scores alone.

Source: Chen et al., "Deep analysis of CNN-based spatio-temporal representations for action recognition", CVPR 2021,
arXiv:2010.11757, sections 5.3 and 5.4. The *baseline* is a network of the same backbone and length without temporal
modules or pooling: TSN, here ``temporal = "none"`` under the head ``tgap``. Accuracies are shares, 0 to 1.

Axes: K classes, M models.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.training.evaluation.evaluate import VideoScores

Floats = NDArray[np.float64]


def spatial_contribution(accuracy: float, baseline: float) -> float:
    """Return how much of a model's accuracy its baseline has as well: equation 1, 0 to 1.

    The baseline is the numerator: the paper's example divides TSN's accuracy by that of TAM. It prints .539 for 36.8 %
    and 71.6 %, which is 38.6 / 71.6; these two give .514.
    """
    return baseline / max(accuracy, baseline) if baseline > 0 else 0.0


def temporal_improvement(accuracy: float, baseline: float) -> float:
    """Return what a model adds to its baseline, as a share of what that leaves to be added: equation 1, at most 1.

    Negative where temporal modelling harms; 0 beside a baseline that is always right.
    """
    return (accuracy - baseline) / (1 - baseline) if baseline < 1 else min(accuracy - 1, 0.0)


@dataclass(frozen=True, kw_only=True)
class Effects:
    """Averages over the backbones and lengths of one architecture: equation 2, a row of table 8."""

    spatial: float
    """Mean spatial contribution."""
    temporal: float
    """Mean temporal improvement."""
    num_models: int
    """Models that they are means of."""


def average_effects(pairs: Sequence[tuple[float, float]]) -> Effects:
    """Average over models of one architecture.

    Args:
        pairs: Accuracy of each model, and of its baseline: the same backbone, the same number of frames.

    Raises:
        UserError: If there is none.
    """
    if not pairs:
        raise UserError("no model has its baseline: train one of the same backbone and clip length, without time.")
    return Effects(
        spatial=float(np.mean([spatial_contribution(*pair) for pair in pairs])),
        temporal=float(np.mean([temporal_improvement(*pair) for pair in pairs])),
        num_models=len(pairs),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassGains:
    """What a model adds to its baseline, class by class (section 5.4.1)."""

    classes: list[str]
    """Names by label."""
    accuracies: Floats
    """Of the model, ``(K,)``; NaN for a class without videos."""
    baselines: Floats
    """Of the baseline, ``(K,)``."""

    @property
    def gains(self) -> Floats:
        """Accuracy that is gained, ``(K,)``, -1 to 1."""
        return self.accuracies - self.baselines

    def temporal_classes(self, num: int) -> list[int]:
        """Return the ``num`` labels with the largest gains, the largest first; of equal ones the lower label first.

        Raises:
            ConfigError: If there are fewer classes with videos.
        """
        return self._top(self.gains, num)

    def static_classes(self, num: int) -> list[int]:
        """Return the ``num`` labels that the baseline knows best, as :meth:`temporal_classes` does."""
        return self._top(self.baselines, num)

    def average_gain(self, labels: Collection[int] | None = None) -> float:
        """Return the mean gain of some classes, or of all: ATG, tables 9 and 10."""
        chosen = slice(None) if labels is None else sorted(labels)
        return float(np.nanmean(self.gains[chosen]))

    def _top(self, by_K: Floats, num: int) -> list[int]:
        known = np.flatnonzero(~np.isnan(by_K))
        if not 1 <= num <= len(known):
            raise ConfigError(f"{num} classes were asked for; there are {len(known)} with videos.")
        order = known[np.argsort(-by_K[known], kind="stable")]
        return [int(label) for label in order[:num]]


def class_gains(model: VideoScores, baseline: VideoScores) -> ClassGains:
    """Compare two models class by class, on the same videos.

    Raises:
        UserError: If they are not of the same classes and videos, tested in the same way.
    """
    for what, ours, theirs in (
        ("classes", model.classes, baseline.classes),
        ("part", model.about.get("part"), baseline.about.get("part")),
        ("split", model.about.get("split"), baseline.about.get("split")),
        ("views", model.views, baseline.views),
        ("videos", sorted(model.video_ids), sorted(baseline.video_ids)),
    ):
        if ours != theirs:
            told = "" if what in ("classes", "videos") else f" ({ours} and {theirs})"
            raise UserError(f"a model and its baseline are compared on the same {what}{told}: evaluate both alike.")
    first, second = model.metrics(), baseline.metrics()
    return ClassGains(classes=list(model.classes), accuracies=first.per_class, baselines=second.per_class)


def gain_correlation(gains: Sequence[ClassGains]) -> Floats:
    """Return how alike the gains of models are over the classes: Pearson's coefficients ``(M, M)``, figure 8.

    NaN beside a model whose gain is the same for every class.
    """
    gain_MK = np.stack([each.gains for each in gains])
    known_MK = gain_MK[:, ~np.isnan(gain_MK).any(axis=0)]
    centred_MK = known_MK - known_MK.mean(axis=1, keepdims=True)
    length_M = np.sqrt((centred_MK**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(centred_MK @ centred_MK.T / np.outer(length_M, length_M))


def overlap(first: Collection[str], second: Collection[str]) -> float:
    """Return the share of the classes of ``first`` that are in ``second`` as well: table 9's overlap ratio, 0 to 1."""
    chosen = set(first)
    return len(chosen & set(second)) / len(chosen) if chosen else float("nan")
