"""What recognizers say of new videos, for people and programs: sentences, a JSON file and a table, annotated videos."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinebert.orchestration.reports.annotated_video import LONGEST_IN_PANEL, Window, annotate_video
from kinebert.orchestration.reports.drawing import class_names
from kinebert.preprocessing import storage
from kinebert.preprocessing.config import to_plain
from kinebert.preprocessing.plain_text import csv_text, json_text
from kinebert.preprocessing.storage import join
from kinebert.training.evaluation.predict import Prediction, Stream

JSON_FILE, TABLE_FILE = "predictions.json", "predictions.csv"
PredictionRow = dict[str, Any]
"""What is written of one video: ``video``, ``path``, and either ``problem``, or ``frames``, ``fps``, ``top`` (its best
classes with probabilities), ``probabilities`` and ``scores`` of all classes, ``temperature`` and ``windows``."""


def row_of(name: str, path: str, said: Prediction, classes: Sequence[str], top: int, fps: float) -> PredictionRow:
    """Return what is said of a video, with its ``top`` best classes; ``fps`` of 0 leaves times out."""
    windows = [
        {
            "first_frame": first,
            "last_frame": last,
            **({"start_s": first / fps, "end_s": (last + 1) / fps} if fps else {}),
            "top": _best(scores_K, shares_K, classes, top),
        }
        for (first, last), scores_K, shares_K in zip(
            said.windows, said.window_scores, said.window_probabilities, strict=True
        )
    ]
    return {
        "video": name,
        "path": path,
        "frames": said.num_frames,
        "fps": fps,
        **({"problem": said.problem} if said.problem else {}),
        "top": _best(said.scores, said.probabilities, classes, top),
        "probabilities": said.probabilities.tolist(),
        "scores": said.scores.tolist(),
        "temperature": said.temperature,
        "windows": windows,
    }


def _best(
    scores_K: NDArray[Any], shares_K: NDArray[np.float64], classes: Sequence[str], top: int
) -> list[dict[str, Any]]:
    """The best classes by their scores, best first, with their probabilities."""
    order = sorted(range(len(scores_K)), key=lambda k: (-scores_K[k], k))[:top]
    return [{"class": classes[k], "probability": float(shares_K[k])} for k in order]


def words(best: Sequence[Mapping[str, Any]]) -> str:
    """Return the first three of the best classes, with their probability, as a text."""
    return ", ".join(f"{one['class']} {one['probability']:.0%}" for one in best[:3])


def annotate(target: str, row: PredictionRow, classes: Sequence[str] = (), **options: Any) -> None:
    """Write the video of a row to ``target``, with the best classes of each window below the picture.

    Args:
        target: MP4 file.
        row: Of :func:`row_of`.
        classes: Names by label; one that no font can write is shown as its label.
        **options: How its pictures are read, see :func:`.annotate_video`.
    """
    shown = dict(zip(classes, class_names(classes, LONGEST_IN_PANEL), strict=True))
    windows = [
        Window(
            window["first_frame"],
            window["last_frame"],
            tuple((shown.get(one["class"], one["class"]), one["probability"]) for one in window["top"][:3]),
        )
        for window in row["windows"]
    ]
    storage.make_folder(target.rpartition("/")[0])
    annotate_video(row["path"], target, windows, row["fps"], **options)


def write_predictions(
    output: str, found: Sequence[PredictionRow], streams: Sequence[Stream], top: int, fused: Mapping[str, Any]
) -> None:
    """Write the table and the JSON file into the folder ``output``, in place of earlier ones.

    Args:
        output: The folder.
        found: Rows of all videos so far.
        streams: What has looked at them.
        top: Classes that the table names.
        fused: How several streams were fused and made probabilities, as plain values.
    """
    about = [
        {"checkpoint": stream.uri, "modality": stream.modality, "protocol": to_plain(stream.protocol)}
        for stream in streams
    ]
    plain = {"streams": about, **fused, "classes": streams[0].classes, "videos": found}
    ranks = range(1, min(top, len(streams[0].classes)) + 1)
    rows = [["video", "frames", *(f"{what}{k}" for k in ranks for what in ("class", "score")), "problem"]]
    for row in found:
        best = [cell for one in row.get("top", ()) for cell in (one["class"], one["probability"])]
        best += [""] * (2 * len(ranks) - len(best))
        rows.append([row["video"], row.get("frames", ""), *best, row.get("problem", "")])
    with storage.explained(output, "write the predictions"):
        storage.write_bytes(join(output, TABLE_FILE), csv_text(rows, line_end="\r\n").encode())
        storage.write_bytes(join(output, JSON_FILE), f"{json_text(plain, indent=1)}\n".encode())
