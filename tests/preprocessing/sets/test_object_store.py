"""Over S3's own protocol: a clip of a set is one request, and what is read is what lies on the disk."""

from pathlib import Path

import numpy as np
import pytest

from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from tests.helpers.object_store import KEYS, object_store
from tests.helpers.sets import make_rows, make_set


def test_a_clip_is_one_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    near = make_set(make_rows(tmp_path / "videos", [70, 40]), tmp_path / "set", FrameRecipe(width=48, height=32))
    with object_store(tmp_path, delay_s=0.0) as (query, requests):
        far = ShardSet.open(f"s3://bucket/set?{query}")
        assert far.is_far
        for entry in near.videos:
            far.read_jpegs(entry, [0])  # opens the shard, which asks for its size
            before = requests.value
            clip = far.read_clip(entry, range(5, 38))
            assert requests.value - before == 1, "no footer is asked for, and neighbours are one read"
            np.testing.assert_array_equal(clip, near.read_clip(entry, range(5, 38)))
