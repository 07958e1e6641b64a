"""Checkpoints of recognizers with random weights, for tests of what comes after a training."""

from pathlib import Path
from typing import Any

import torch

from kinebert.preprocessing.config import to_plain
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.checkpoints.recognizer import save_recognizer
from kinebert.training.models import build_recognizer
from kinebert.training.recipe.train import DataRecipe, ModelRecipe, ProtocolRecipe, TrainRecipe

MODEL = ModelRecipe(backbone="resnet18", head="tgap", width=0.125)


def make_checkpoint(
    path: Path, shards: ShardSet, protocol: ProtocolRecipe, split: str = "split1", seed: int = 0
) -> str:
    """Write a recognizer of random weights, as a training would."""
    data = DataRecipe(shards=shards.uri, split=split, clip_length=4, crop_size=32)
    recipe = TrainRecipe(data=data, model=MODEL, test=protocol)
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {
        "modality": shards.modality,
        "num_classes": len(shards.classes),
        "clip_length": 4,
        "size": 32,
    }
    recognizer = build_recognizer(**MODEL.arguments(), **sizes)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_recognizer(str(path), recognizer, shards, epoch=1, metrics={}, extra={"train": to_plain(recipe)})
    return str(path)
