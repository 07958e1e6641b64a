"""The numbers of a training's epochs: their file, and their names in MLflow."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kinebert.preprocessing import storage
from kinebert.training.run_folder import HISTORY_FILE, EpochRow


def save_history(folder: str, history: Sequence[EpochRow]) -> None:
    """Keep the numbers of a training's epochs beside its checkpoint."""
    storage.write_bytes(storage.join(folder, HISTORY_FILE), (json.dumps(list(history), indent=1) + "\n").encode())


def load_history(folder: str) -> list[EpochRow]:
    """Read the numbers of a training's epochs; empty if they were not kept."""
    path = storage.join(folder, HISTORY_FILE)
    if not folder or not storage.exists(path):
        return []
    history: list[EpochRow] = json.loads(storage.read_bytes(path))
    return history


def epoch_metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an epoch under the names that MLflow's page groups them by."""
    names = ("train_", "val_", "lr", "seconds", "clips_per_s", "data_wait", "gpu_gib", "skipped")
    return {f"epoch/{key}": value for key, value in row.items() if key.startswith(names)}
