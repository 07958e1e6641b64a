"""The videos of one part of a split, and what is unusual about them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kinebert.preprocessing.datasets.split_counts import Caution, PartCounts, cautions
from kinebert.preprocessing.errors import ConfigError
from kinebert.training.clips.sampling import span
from kinebert.training.clips.stacking import places
from kinebert.training.recipe.train import DataRecipe
from kinebert.training.shards import Shards, numbers_of


def check_videos(shards: Shards, recipe: DataRecipe, part: str) -> tuple[Sequence[Any], list[str]]:
    """Select one part and look for what would spoil hours of training.

    Returns:
        The videos, and sentences about what is unusual but allowed.

    Raises:
        ConfigError: If the part is empty, videos have no class, or their pictures cannot be augmented so.
    """
    recipe.augment.check_streams(shards.modality)
    videos = shards.select(recipe.split, part)
    where = f"{shards.uri}: {recipe.split}/{part}"
    if not videos:
        raise ConfigError(f"{where}: there are no videos in this part. Choose another part, or make the split again.")
    if len(shards.classes) < 2:
        raise ConfigError(f"{where}: {len(shards.classes)} classes, there is nothing to tell apart below 2.")
    labels = numbers_of(videos, "label")
    unknown = np.flatnonzero((labels < 0) | (labels >= len(shards.classes)))
    if len(unknown):
        raise ConfigError(
            f"{where}: {len(unknown)} of {len(videos)} videos have no class, the first is "
            f"{videos[int(unknown[0])].video_id}. Take them out of the manifest, or give them a label."
        )
    notes = []
    absent = sorted(set(range(len(shards.classes))) - set(np.unique(labels).tolist()))
    if absent:
        names = ", ".join(shards.classes[label] for label in absent[:5]) + (", ..." if len(absent) > 5 else "")
        notes.append(f"{where}: {len(absent)} of {len(shards.classes)} classes have no video: {names}")
    length = span(recipe.clip_length, recipe.frame_interval) if recipe.sampling == "dense" else recipe.clip_length
    num_images, stack = numbers_of(videos, "num_images"), recipe.flow_stack
    short = int((places(num_images, stack) < length).sum())
    if short:
        how = "continue from their beginning" if recipe.sampling == "dense" else "repeat images"
        notes.append(
            f"{where}: {short} of {len(videos)} videos have fewer than the {length + stack - 1} images of a clip "
            f"and {how}"
        )
    shorter = int((num_images < stack).sum())
    if shorter:
        notes.append(
            f"{where}: {shorter} of {len(videos)} videos have fewer than the {stack} fields of a stack and repeat "
            "their last one"
        )
    left_out = sum(recipe.split in video.splits and video.splits[recipe.split] == part for video in shards.rejected)
    if left_out:
        notes.append(f"{where}: {left_out} videos were rejected in extraction and are not in the set")
    return videos, notes


def split_cautions(shards: Shards, recipe: DataRecipe) -> list[Caution]:
    """Say what makes results on the parts that a training uses worth less than they seem; absent classes aside.

    Those are notes of :func:`check_videos`. Groups are not kept in a set: `kinebert index` says which are divided.
    """
    parts = []
    for part in dict.fromkeys((recipe.train_part, recipe.val_part)):
        labels = numbers_of(shards.select(recipe.split, part), "label")
        counts = np.bincount(labels[labels >= 0], minlength=len(shards.classes)).tolist()
        classes = dict(zip(shards.classes, counts, strict=True))
        parts.append(PartCounts(split=recipe.split, part=part, classes=classes))
    return [caution for caution in cautions(parts, recipe.val_part) if caution.kind != "missing class"]
