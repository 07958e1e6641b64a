"""What the parts of a split hold, and which of them are warned of."""

from collections.abc import Mapping

import pytest

from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.datasets.split_counts import (
    FEW_VIDEOS,
    Caution,
    PartCounts,
    cautions,
    count_parts,
    divided_groups,
    half_width,
)


def row(video_id: str, label: int, problem: str | None = None, group: str = "", **splits: str) -> ManifestRow:
    return ManifestRow(
        video_id=video_id,
        path="",
        label=label,
        label_name=f"class{label}" if label >= 0 else "",
        group=group or video_id,
        splits=splits,
        problem=problem,
    )


def counts(part: str, *nums: int, groups: int | None = None, split: str = "own") -> PartCounts:
    classes = {f"class{label}": num for label, num in enumerate(nums)}
    return PartCounts(split=split, part=part, classes=classes, num_groups=groups)


def told(found: list[Caution]) -> list[tuple[str, str, str]]:
    return [(one.kind, one.split, one.part) for one in found]


def test_videos_groups_and_classes_of_every_part_are_counted_if_they_can_be_used() -> None:
    rows = [
        row("a", 1, group="tape1", own="train", other="test"),
        row("b", 1, group="tape1", own="train"),
        row("c", 0, own="test"),
        row("d", 0, problem="0 bytes", own="test"),
        row("e", -1, own="val"),
        row("f", 2, other="train"),
        row("g", 3, problem="0 bytes", own="train"),
    ]
    found = {(one.split, one.part): (dict(one.classes), one.num_groups, one.num_videos) for one in count_parts(rows)}
    assert found == {
        ("other", "train"): ({"class0": 0, "class1": 0, "class2": 1}, 1, 1),
        ("other", "test"): ({"class0": 0, "class1": 1, "class2": 0}, 1, 1),
        ("own", "train"): ({"class0": 0, "class1": 2, "class2": 0}, 1, 2),
        ("own", "test"): ({"class0": 1, "class1": 0, "class2": 0}, 1, 1),
    }
    assert [one.where for one in count_parts(rows)] == ["other/train", "other/test", "own/train", "own/test"]
    assert count_parts([row("a", 0)]) == []


def test_classes_that_a_part_lacks_are_found_among_usable_videos() -> None:
    rows = [
        row("a", 0, split1="train"),
        row("b", 0, split1="test"),
        row("c", 1, split1="train"),
        row("d", 1, problem="0 bytes", split1="test"),
        row("e", -1, split1="test"),
    ]
    found = cautions(count_parts(rows))[0]
    assert (found.kind, found.split, found.part) == ("missing class", "split1", "test")
    assert found.text == "split1/test: no video of 1 of 2 classes: class1", "and none of val, which the split has not"
    assert [one for one in cautions(count_parts(rows))[1:] if one.kind == "missing class"] == []
    assert cautions(count_parts([row("a", 0, split1="train"), row("b", 0, split1="test")])) == []


def test_a_group_in_two_parts_is_named_with_them() -> None:
    rows = [row(f"a{i}", 0, group="tape1", own=part, other="train") for i, part in enumerate(("test", "train"))]
    rows += [row(f"b{i}", 0, group=f"t{i}", own=part) for i in range(5) for part in ("train", "val")]
    (found,) = divided_groups(rows)
    assert (found.kind, found.split) == ("divided group", "own")
    assert found.text.startswith(
        "own: 6 of 6 groups are in several parts: t0 (train, val), t1 (train, val), t2 (train, val) and 3 more. "
    )
    assert "tape1 (train, test)" in divided_groups(rows[:2])[0].text
    broken = [row("a", 0, group="tape1", own="train"), row("b", 0, "0 bytes", group="tape1", own="test")]
    assert divided_groups(broken) == [], "what cannot be used is learnt from by nobody"


def test_few_is_where_chance_moves_an_accuracy_by_more_than_ten_points() -> None:
    assert half_width(FEW_VIDEOS - 1) > 0.1 >= half_width(FEW_VIDEOS)
    # by hand (Wilson 1927): z sqrt(p (1 - p) / n + z^2 / 4 n^2) / (1 + z^2 / n) with 46 of 92 right, z = 1.959964
    assert half_width(92) == pytest.approx(0.100102, abs=1e-6)


@pytest.mark.parametrize(
    ("num", "groups", "words"),
    [
        (
            29,
            5,
            "own/val: 29 videos of 5 groups are too few to choose an epoch by: chance alone moves their accuracy by up "
            "to 17 points either way, in 19 of 20",
        ),
        (29, 29, "own/val: 29 videos are too few "),
        (29, None, "own/val: 29 videos are too few "),
        (FEW_VIDEOS - 1, 1, f"own/val: {FEW_VIDEOS - 1} videos of 1 group are too few "),
    ],
)
def test_a_validation_part_that_is_too_small_says_by_how_much(num: int, groups: int | None, words: str) -> None:
    parts = [counts("train", 100, 100), counts("val", num // 2, num - num // 2, groups=groups), counts("test", 9, 9)]
    (found,) = cautions(parts)
    assert (found.kind, found.part) == ("few videos", "val")
    assert found.text.startswith(words)
    (found,) = cautions(parts, choosing="test")
    assert found.part == "test", "the part that chooses is what matters"


def test_enough_videos_in_proportion_are_no_reason_to_warn() -> None:
    assert cautions([counts("train", 200, 100), counts("val", FEW_VIDEOS // 2 + 1, FEW_VIDEOS // 2)]) == []


@pytest.mark.parametrize(
    ("val", "expected"),
    [
        ((90, 30), []),  # a quarter instead of a third
        ((115, 5), ["class1 5 (40 expected)"]),
        ((20, 100), ["class0 20 (80 expected)", "class1 100 (40 expected)"]),
    ],
)
def test_a_class_with_half_or_twice_its_share_is_named(val: tuple[int, int], expected: list[str]) -> None:
    parts = [counts("train", 400 - val[0], 200 - val[1]), counts("val", *val)]
    texts = [one.text for one in cautions(parts) if one.kind == "lopsided" and one.part == "val"]
    words = "own/val: classes have another share than in the whole split: "
    assert texts == ([words + ", ".join(expected)] if expected else [])


def test_where_few_are_expected_chance_is_not_called_lopsided() -> None:
    train, val = counts("train", *[40] * 10), [9, 1, 4, 4, 4, 4, 4, 4, 3, 3]  # 4 expected of each
    assert [one.kind for one in cautions([train, counts("val", *val)])] == ["few videos"]
    found = cautions([train, counts("val", *(2 * num for num in val))])
    assert [one.text.partition(": ")[2] for one in found if one.kind == "lopsided"] == [
        "classes have another share than in the whole split: class1 2 (7 expected)"
    ]


@pytest.mark.parametrize(
    ("nums", "share"),
    [((76, 24), "76.0%"), ((75, 25), None), ((51, 25, 24), "51.0%"), ((50, 25, 25), None), ((100,), None)],
)
def test_a_class_that_holds_most_of_a_part_is_named(nums: tuple[int, ...], share: str | None) -> None:
    found = cautions([counts("train", *nums)])
    assert told(found) == ([("majority", "own", "train")] if share else [])
    if share:
        assert found[0].text.startswith(f"own/train: {share} of the videos are class0: always answering that ")


def test_less_to_learn_from_than_to_test_on_is_said() -> None:
    (found,) = cautions([counts("train", 50, 50), counts("test", 60, 60)])
    assert (found.kind, found.text) == ("sizes", "own: train has 100 videos, test 120: most are not learnt from")


def test_splits_are_looked_at_one_by_one() -> None:
    by_split: Mapping[str, tuple[int, int]] = {"a": (100, 100), "b": (100, 0)}
    parts = [counts("train", *nums, split=split) for split, nums in by_split.items()]
    assert ("missing class", "b", "train") in told(cautions(parts))
    assert not [one for one in cautions(parts) if one.split == "a"]
