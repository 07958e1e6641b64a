"""What is said of the videos of a part before hours are spent on them."""

from dataclasses import replace
from typing import Any

import pytest

from kinebert.preprocessing.errors import ConfigError
from kinebert.training.data.parts import check_videos
from kinebert.training.recipe.train import DataRecipe
from tests.helpers.fake_shards import FakeRejected, make_shards

DATA = DataRecipe(shards="/fake/set", clip_length=4, crop_size=16)


def test_an_ordinary_part_is_given_without_a_word() -> None:
    shards = make_shards()
    videos, notes = check_videos(shards, DATA, "val")
    assert (list(videos), notes) == (shards.select("split1", "val"), [])


@pytest.mark.parametrize(
    ("split", "part", "classes", "words"),
    [
        ("split1", "test", 3, "/fake/set: split1/test: there are no videos in this part"),
        ("split2", "train", 3, "/fake/set: split2/train: there are no videos"),
        ("split1", "train", 1, "/fake/set: split1/train: 1 classes, there is nothing to tell apart"),
    ],
)
def test_parts_that_nothing_can_be_learnt_from(split: str, part: str, classes: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_videos(make_shards(num_classes=classes), replace(DATA, split=split), part)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_no_class_is_named(label: int) -> None:
    shards = make_shards()
    shards.videos[5] = replace(shards.videos[5], label=label)
    shards.videos[7] = replace(shards.videos[7], label=label)
    with pytest.raises(ConfigError, match="2 of 24 videos have no class, the first is v005"):
        check_videos(shards, DATA, "train")
    check_videos(shards, DATA, "val")  # which has none of them


def test_classes_that_have_no_video_are_counted_and_some_are_named() -> None:
    shards = make_shards(num_train=2, num_classes=9)
    (note,) = check_videos(shards, DATA, "train")[1]
    assert note == "/fake/set: split1/train: 7 of 9 classes have no video: class2, class3, class4, class5, class6, ..."


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clip_length": 7}, "fewer than the 7 images of a clip and continue from their beginning"),
        (
            {"clip_length": 4, "frame_interval": 2},
            "fewer than the 7 images of a clip and continue from their beginning",
        ),
        ({"clip_length": 7, "sampling": "sections"}, "fewer than the 7 images of a clip and repeat images"),
    ],
)
def test_short_videos_are_counted_by_what_a_clip_spans(changes: dict[str, Any], words: str) -> None:
    """Videos of 6 to 10 images, one in five of each length."""
    (note,) = check_videos(make_shards(num_train=25), replace(DATA, **changes), "train")[1]
    assert note.startswith("/fake/set: split1/train: 5 of 25 videos have ")
    assert note.endswith(words)


def test_what_extraction_rejected_of_this_part_is_counted() -> None:
    shards = make_shards()
    shards.rejected = [
        FakeRejected("a", "broken", {"split1": "train"}),
        FakeRejected("b", "broken", {"split1": "val", "split2": "train"}),
        FakeRejected("c", "broken", {}),
    ]
    (note,) = check_videos(shards, DATA, "train")[1]
    assert note.endswith("1 videos were rejected in extraction and are not in the set")
