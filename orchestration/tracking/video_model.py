"""Checkpoints as MLflow's ``python_function``: paths of videos in, classes out, by the code of `kinebert predict`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from kinebert.preprocessing import storage
from kinebert.preprocessing.checked.documents import document_text, read_document
from kinebert.preprocessing.config import digest
from kinebert.preprocessing.storage import resolve_uri
from kinebert.training.evaluation.calibration import Calibration
from kinebert.training.evaluation.fusion import Method
from kinebert.training.evaluation.predict import Stream, predict_video
from kinebert.training.run_folder import checkpoint_digest

FUSION_FILE = "fusion.json"
"""In the folder of a fused model: how its streams, whose checkpoints lie beside it, are fused."""


@dataclass(frozen=True, kw_only=True)
class FusedStreams:
    """How several recognizers say one thing."""

    streams: tuple[str, ...]
    """Their checkpoints: paths or URIs, or names of files beside."""
    method: Method = "l2"
    """As in :func:`kinebert.training.evaluation.fusion.fuse`."""
    weights: tuple[float, ...] | None = None
    """One per stream; None for all 1."""
    calibration: Calibration
    """The temperature of its probabilities, and who has chosen it."""

    def digest(self) -> str:
        """Return twelve characters that change with any byte of a checkpoint, and with how they are fused."""
        return digest([checkpoint_digest(uri) for uri in self.streams], self.method, self.weights, self.calibration)

    def write(self, folder: Path) -> None:
        """Copy the checkpoints into a folder, which is made, with a file that says how they are fused."""
        folder.mkdir(parents=True, exist_ok=True)
        names = tuple(f"stream-{i}.pt" for i in range(1, len(self.streams) + 1))
        for name, uri in zip(names, self.streams, strict=True):
            (folder / name).write_bytes(storage.read_bytes(uri))
        beside = FusedStreams(streams=names, method=self.method, weights=self.weights, calibration=self.calibration)
        (folder / FUSION_FILE).write_text(f"{document_text(beside, indent=1)}\n")


class VideoModel:
    """Recognizers that take paths of videos, inside of what ``mlflow.pyfunc.load_model`` returns."""

    def __init__(self, checkpoints: Sequence[str], fused: FusedStreams | None = None) -> None:
        self._streams = [Stream.load(checkpoint) for checkpoint in checkpoints]
        self._fused = fused

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
        how: dict[str, Any] = {}
        if self._fused is not None:
            how = {"weights": self._fused.weights, "method": self._fused.method}
            how["temperature"] = self._fused.calibration.temperature
        found = predict_video(resolve_uri(path), self._streams, device=device, **how)
        shares_K, best = found.probabilities, int(found.scores.argmax())
        return {
            "video": path,
            "label": self._streams[0].classes[best],
            "probability": float(shares_K[best]),
            "probabilities": [float(share) for share in shares_K],
        }


def _load_pyfunc(path: str) -> VideoModel:
    """What MLflow calls with a checkpoint, or with the folder of several that are fused."""
    if not os.path.isdir(path):
        return VideoModel([path])
    file = os.path.join(path, FUSION_FILE)
    fused = read_document(FusedStreams, file, "how streams are fused", "Register the model again.")
    return VideoModel([os.path.join(path, os.path.basename(name)) for name in fused.streams], fused)
