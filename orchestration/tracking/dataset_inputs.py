"""A shard set as an input of an MLflow run: which part of which split was used for what."""

import json

from mlflow.entities import Dataset, DatasetInput, InputTag

from kinebert.preprocessing import storage
from kinebert.preprocessing.sets.reader import ShardSet

_LONGEST_NAME = 500


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
    kinds = shards.splits()
    facts = {"modality": shards.modality, "recipe": shards.digest, "classes": len(shards.classes)}
    profile = {**facts, "part": split_part, "videos": len(videos), "images": int(videos.numbers("num_images").sum())}
    schema = [{"type": "binary", "name": "image", "required": True}]
    schema += [{"type": "string", "name": key, "required": True} for key in ("video_id", "label_name")]
    schema += [{"type": "string", "name": f"split {kind}", "required": False} for kind in kinds]
    entity = Dataset(
        name=f"{storage.name_of(shards.uri)} {split_part}"[:_LONGEST_NAME],
        digest=shards.content,
        source_type="kinebert shard set",
        source=json.dumps({"uri": shards.uri}),
        schema=json.dumps({"mlflow_colspec": schema}),
        profile=json.dumps(profile),
    )
    return DatasetInput(entity, [InputTag("mlflow.data.context", context)])
