"""A checkpoint as MLflow's ``python_function``: paths of videos in, classes out, by the code of `kinebert predict`."""

from typing import Any

import pandas as pd
import torch

from kinebert.preprocessing.storage import resolve_uri
from kinebert.training.evaluation.metrics import probabilities
from kinebert.training.evaluation.predict import Stream, predict_video


class VideoModel:
    """A recognizer that takes paths of videos, inside of what ``mlflow.pyfunc.load_model`` returns."""

    def __init__(self, checkpoint: str) -> None:
        self._stream = Stream.load(checkpoint)

    def predict(self, videos: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Score videos, given by their paths.

        Args:
            videos: A table with the column ``video``: local paths or URIs.
            params: Not used; MLflow passes it.

        Returns:
            One row per video: ``video``, ``label``, ``probability``, and ``probabilities`` in the order of labels.json.

        Raises:
            VideoError: If a video cannot be used.
        """
        return pd.DataFrame([self._row(str(path)) for path in videos["video"]])

    def _row(self, path: str) -> dict[str, Any]:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        found = predict_video(resolve_uri(path), [self._stream], device=device)
        shares = found.scores[None] if found.scale == "probabilities" else probabilities(found.scores[None])
        best = int(shares[0].argmax())
        return {
            "video": path,
            "label": self._stream.classes[best],
            "probability": float(shares[0, best]),
            "probabilities": [float(share) for share in shares[0]],
        }


def _load_pyfunc(path: str) -> VideoModel:
    """What MLflow calls."""
    return VideoModel(path)
