"""Properties of the seeded split: groups whole, shares kept, a function of seed and videos alone."""

import random
from collections import Counter, defaultdict

import pytest

from kinebert.preprocessing.datasets.splits import make_split
from kinebert.preprocessing.errors import ConfigError

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}


def many_videos(seed: int, num_groups: int, mixed: bool) -> tuple[dict[str, str], dict[str, str]]:
    """Videos of 5 uneven classes in groups of 1 to 8; ``mixed`` groups hold several classes."""
    rng = random.Random(seed)
    labels, groups = {}, {}
    for g in range(num_groups):
        classes = rng.choices("abcde", [5, 4, 3, 2, 1], k=3 if mixed else 1)
        for v in range(rng.randint(1, 8)):
            labels[f"g{g:03d}/v{v}"] = rng.choice(classes)
            groups[f"g{g:03d}/v{v}"] = f"g{g:03d}"
    return labels, groups


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_groups_stay_whole_and_shares_are_kept(seed: int, mixed: bool) -> None:
    labels, groups = many_videos(seed, num_groups=200, mixed=mixed)
    split = make_split(labels, groups, SHARES, seed)
    assert split.keys() == labels.keys()
    parts_of = defaultdict(set)
    for video_id, part in split.items():
        parts_of[groups[video_id]].add(part)
    assert all(len(parts) == 1 for parts in parts_of.values())
    totals, counts = Counter(labels.values()), Counter((labels[v], part) for v, part in split.items())
    for label, total in totals.items():
        for part, share in SHARES.items():
            assert abs(counts[label, part] - share * total) <= 1, (label, part)
    sizes = Counter(split.values())
    for part, share in SHARES.items():
        assert abs(sizes[part] - share * len(labels)) <= 1, part


def test_single_videos_come_within_one_of_their_share() -> None:
    labels = {f"{label}/{i}": label for label, count in {"a": 40, "b": 33, "c": 7}.items() for i in range(count)}
    split = make_split(labels, {}, SHARES, seed=0)
    counts = Counter((labels[v], part) for v, part in split.items())
    for label, total in Counter(labels.values()).items():
        for part, share in SHARES.items():
            assert abs(counts[label, part] - share * total) < 1


def test_does_not_depend_on_the_order_of_the_videos() -> None:
    labels, groups = many_videos(1, num_groups=60, mixed=True)
    items = list(labels.items())
    random.Random(0).shuffle(items)
    assert make_split(dict(items), groups, SHARES, seed=3) == make_split(labels, groups, SHARES, seed=3)


def test_the_seed_decides() -> None:
    labels, groups = many_videos(2, num_groups=60, mixed=False)
    splits = [tuple(sorted(make_split(labels, groups, SHARES, seed).items())) for seed in (0, 0, 1, 2)]
    assert splits[0] == splits[1]
    assert len(set(splits)) == 3


def test_a_part_without_a_share_gets_nothing() -> None:
    labels = {str(i): "a" for i in range(10)}
    split = make_split(labels, {}, {"train": 0.8, "val": 0.0, "test": 0.2}, seed=0)
    assert Counter(split.values()) == {"train": 8, "test": 2}


def test_refuses_what_cannot_be_done() -> None:
    labels = {str(i): "a" for i in range(10)}
    with pytest.raises(ConfigError, match=r"sum to 1, got train -0.1, val 0.5, test 0.6"):
        make_split(labels, {}, {"train": -0.1, "val": 0.5, "test": 0.6}, seed=0)
    with pytest.raises(ConfigError, match=r"10 videos in 1 group cannot be split into train 0.8, test 0.2"):
        make_split(labels, dict.fromkeys(labels, "one recording"), {"train": 0.8, "test": 0.2}, seed=0)


def test_no_part_stays_empty() -> None:
    labels = {f"{i}": "ab"[i % 2] for i in range(21)}
    groups = {f"{i}": f"tape{min(i // 8, 2)}" for i in range(21)}  # 8, 8 and 5 videos
    split = make_split(labels, groups, SHARES, seed=0)
    assert sorted(Counter(split.values()).values()) == [5, 8, 8]
    assert Counter(make_split(labels, {}, {"train": 0.98, "val": 0.01, "test": 0.01}, seed=0).values()) == {
        "train": 19,
        "val": 1,
        "test": 1,
    }
