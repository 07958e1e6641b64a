"""A shard set as an input of an MLflow run: which part of which split was used for what."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlflow.entities import Dataset, DatasetInput, InputTag

from kinebert.preprocessing import storage
from kinebert.preprocessing.sets.reader import ShardSet

if TYPE_CHECKING:
    from kinebert.training.evaluation.evaluate import VideoScores

_LONGEST_NAME, _LONGEST_DIGEST = 500, 36


def dataset_input(shards: ShardSet, context: str, split_part: str) -> DatasetInput:
    """Describe the part of a set that is used.

    Args:
        shards: The set.
        context: What for: ``training``, ``validation``, ``evaluation``.
        split_part: The split and the part: ``split1/train``. A split's name may have slashes, a part has none.

    Raises:
        UserError: If the set has no such part.
    """
    split, _, part = split_part.rpartition("/")
    videos = shards.select(split, part)
    facts = {"modality": shards.modality, "recipe": shards.digest, "classes": len(shards.classes)}
    facts |= {"part": split_part, "videos": len(videos), "images": int(videos.numbers("num_images").sum())}
    return _input(shards.uri, shards.content, facts, shards.splits(), context)


def scored_input(scores: "VideoScores", uri: str) -> DatasetInput:
    """Describe the part of a set whose videos a table has scores of, by what the table says of it.

    Args:
        scores: Of one stream.
        uri: Where its set lay when it was trained on; the name of its modality where that is not known.
    """
    about = scores.about
    facts = {"modality": about.get("modality"), "recipe": about.get("shards"), "classes": len(scores.classes)}
    facts |= {"part": scores.tested_part, "videos": len(scores.video_ids)}
    digest = str(about.get("content") or about.get("shards") or "unknown")
    return _input(uri, digest, facts, [str(about.get("split"))], "evaluation")


def _input(uri: str, digest: str, facts: Mapping[str, Any], splits: Sequence[str], context: str) -> DatasetInput:
    schema = [{"type": "binary", "name": "image", "required": True}]
    schema += [{"type": "string", "name": key, "required": True} for key in ("video_id", "label_name")]
    schema += [{"type": "string", "name": f"split {kind}", "required": False} for kind in splits]
    entity = Dataset(
        name=f"{storage.name_of(uri)} {facts['part']}"[:_LONGEST_NAME],
        digest=digest[:_LONGEST_DIGEST],
        source_type="kinebert shard set",
        source=json.dumps({"uri": uri}),
        schema=json.dumps({"mlflow_colspec": schema}),
        profile=json.dumps(facts),
    )
    return DatasetInput(entity, [InputTag("mlflow.data.context", context)])
