"""What was measured on a table of scores, as JSON."""

from dataclasses import asdict

from kinebert.orchestration.reports.intervals import known_intervals
from kinebert.preprocessing import storage
from kinebert.preprocessing.plain_text import json_text
from kinebert.training.evaluation.evaluate import VideoScores
from kinebert.training.evaluation.per_class import class_table


def write_metrics(uri: str, scores: VideoScores) -> None:
    """Write what was measured as JSON: protocol, every metric with its interval, the
    class with the most videos and its share, all classes and their confusion."""
    metrics, between = scores.metrics(), known_intervals(scores)
    numbers = {
        name: {"value": value, **(asdict(between[name]) if name in between else {})}
        for name, value in metrics.as_numbers().items()
    }
    classes = [
        {"name": row.name, "videos": row.num_videos, "right": row.num_right, "taken": row.num_taken}
        for row in class_table(metrics.confusion, scores.classes)
    ]
    label, share = metrics.majority
    plain = {
        "about": scores.about,
        "videos": metrics.num_videos,
        "rejected": scores.rejected,
        "metrics": numbers,
        "majority": {"class": scores.classes[label], "share": share},
        "classes": classes,
        "confusion": metrics.confusion.tolist(),
    }
    with storage.explained(uri, "write the metrics"):
        storage.write_bytes(uri, f"{json_text(plain, indent=1)}\n".encode())
