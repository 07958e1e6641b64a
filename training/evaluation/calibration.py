"""Probabilities of fused scores: their softmax, after a division by one temperature, which validation chooses.

Source: Guo et al., "On calibration of modern neural networks", arXiv:1706.04599, section 4.2: the temperature whose
probabilities make the labels likeliest (the lowest negative log likelihood). One temperature for all videos and classes
changes no order of classes.

Axes: V videos, K classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from kinebert.training.evaluation.evaluate import VideoScores
from kinebert.training.evaluation.fusion import Method, fuse, unit_scores
from kinebert.training.evaluation.metrics import probabilities
from kinebert.training.evaluation.view_scores import About

Floats = NDArray[np.float64]
_RANGE = 1e4
"""By how much the sharpness that is tried may be above or below one over the spread of the scores."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A temperature, who has chosen it, and what its probabilities are worth there."""

    temperature: float | None
    """Above 0; None if every video has its own, :func:`own_temperature`."""
    chosen_on: str = ""
    """Split and part, such as ``split1/val``; empty if no validation has chosen it."""
    num_videos: int = 0
    """Videos that have chosen it."""
    ece_before: float | None = None
    """Expected calibration error there at temperature 1, 0 to 1."""
    ece_after: float | None = None
    """The same at this temperature."""
    why_not: str = ""
    """Why no validation has chosen it."""

    def sentence(self) -> str:
        """Say which temperature makes the probabilities, and what they are worth; shares in percent."""
        if not self.chosen_on:
            which = (
                "each video's own temperature" if self.temperature is None else f"temperature {self.temperature:.3g}"
            )
            return (
                f"probabilities: softmax at {which}, as sure as the streams' own scores; not calibrated: {self.why_not}"
            )
        errors = ""
        if self.ece_before is not None and self.ece_after is not None:
            errors = f" (ECE there {100 * self.ece_before:.1f} before, {100 * self.ece_after:.1f} after)"
        return (
            f"probabilities: softmax at temperature {self.temperature:.3g}, chosen on {self.num_videos} videos of "
            f"{self.chosen_on}{errors}"
        )


def calibrate(
    streams: Sequence[VideoScores],
    weights: Sequence[float] | None,
    method: Method,
    validation: Sequence[VideoScores] = (),
    why_not: str = "no scores of a validation part",
) -> Calibration:
    """Choose the temperature of a fusion.

    Args:
        streams: What is fused, looked at only if there is no validation; none if that is not known yet.
        weights: Of the streams, as in :func:`.fuse`.
        method: As in :func:`.fuse`.
        validation: Scores of the same streams, in the same order, on a validation part; or none: then the temperature
            is :func:`own_temperature`.
        why_not: Why there is no validation, kept with the temperature.

    Raises:
        UserError: As :func:`.fuse`, of the validation.
    """
    if not validation:
        fixed = own_temperature(streams, weights, method) if streams or method == "softmax" else None
        return Calibration(temperature=fixed, why_not=why_not)
    fused = fuse(validation, weights, method).scores
    before = replace(fused, about={**fused.about, "temperature": 1.0})
    temperature = fit_temperature(fused.scores, fused.labels, fused.scale)
    after = replace(fused, about={**fused.about, "temperature": temperature})
    return Calibration(
        temperature=temperature,
        chosen_on=fused.tested_part,
        num_videos=len(fused.video_ids),
        ece_before=before.metrics().ece,
        ece_after=after.metrics().ece,
    )


def calibrated(scores: VideoScores, calibration: Calibration) -> VideoScores:
    """Return fused scores with their temperature, which is kept with them; the scores stay as they are."""
    known: About = {"calibration": asdict(calibration)}
    if calibration.temperature is not None:
        known["temperature"] = calibration.temperature
    return replace(scores, about={**scores.about, **known})


def fit_temperature(scores_VK: NDArray[Any], labels_V: NDArray[Any], scale: str) -> float:
    """Return the temperature at which the labels are likeliest. Nothing is random.

    Where every label has the highest score there is no such temperature: the lower, the likelier. Then the mean
    probability of the best class is made ``(V + 1) / (V + 2)``, as much as V videos without an error can tell
    (Laplace's rule of succession).

    Args:
        scores_VK: Fused scores.
        labels_V: 0 to K - 1; a video whose label is -1 is left out, as one whose scores are not finite.
        scale: Of the scores, as in :func:`.metrics.confidences`.
    """
    known_V = (np.asarray(labels_V) >= 0) & np.isfinite(scores_VK).all(axis=1)
    labels, scores = np.asarray(labels_V)[known_V], _evidence(np.asarray(scores_VK)[known_V], scale)
    spread = float(scores.std(axis=1).mean()) if len(scores) else 0.0
    if spread == 0:
        return 1.0
    own_V = scores[np.arange(len(labels)), labels]

    def excess(sharpness: float) -> float:
        """The derivative of the negative log likelihood; it grows with the sharpness, one over the temperature."""
        shares_VK = probabilities(scores, temperature=1 / sharpness)
        return float(((shares_VK * scores).sum(axis=1) - own_V).mean())

    def too_sure(sharpness: float) -> float:
        sure = float(probabilities(scores, temperature=1 / sharpness).max(axis=1).mean())
        return sure - (len(scores) + 1) / (len(scores) + 2)

    return 1 / _root(too_sure if (own_V == scores.max(axis=1)).all() else excess, 1 / spread)


def _root(growing: Callable[[float], float], near: float) -> float:
    """Where a function that grows is 0, looked for from ``near`` outwards; the range's end if nowhere within it."""

    def at(log: float) -> float:
        return growing(float(np.exp(log)))

    first = inside = float(np.log(near))
    step = 1.0 if at(first) < 0 else -1.0
    while abs(inside - first) < np.log(_RANGE):  # each look costs a pass over all scores: close ones come first
        beyond = inside + step
        if (at(beyond) < 0) != (step > 0):
            return float(np.exp(brentq(at, min(inside, beyond), max(inside, beyond), xtol=1e-10)))
        inside = beyond
    return float(np.exp(inside))


def own_temperature(streams: Sequence[VideoScores], weights: Sequence[float] | None, method: Method) -> float:
    """Return the temperature that gives fused scores the size of the streams' own: as if their logits were averaged.

    It takes back, in the mean over the videos, what L2 normalisation has taken; 1 for means of probabilities.
    """
    if method == "softmax":
        return 1.0
    each = [1.0] * len(streams) if weights is None else list(weights)
    gains = [(_gain(stream), weight) for stream, weight in zip(streams, each, strict=True) if weight]
    known = [(gain, weight) for gain, weight in gains if gain is not None]
    if not known:
        return 1.0
    return sum(each) * sum(weight for _, weight in known) / sum(gain * weight for gain, weight in known)


def _gain(stream: VideoScores) -> float | None:
    """How much larger the spread of a stream's scores is than that of the same at length 1; None if it has none."""
    if stream.scale == "sums" and stream.temperature is None:
        return None
    own_V = _evidence(stream.scores, stream.scale).std(axis=1) / (stream.temperature or 1.0)
    unit_V = unit_scores(stream.scores).std(axis=1)
    some_V = (unit_V > 0) & np.isfinite(own_V)
    found = float((own_V[some_V] / unit_V[some_V]).mean()) if some_V.any() else 0.0
    return found or None


def _evidence(scores_VK: NDArray[Any], scale: str) -> Floats:
    """Scores whose softmax is meant: those of probabilities are their logarithms."""
    if scale != "probabilities":
        return np.asarray(scores_VK, np.float64)
    return np.log(np.maximum(np.asarray(scores_VK, np.float64), float(np.finfo(np.float32).tiny)))
