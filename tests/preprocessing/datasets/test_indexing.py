"""From a listing to rows: groups, splits, and what a user should know of them."""

import pytest

from kinebert.preprocessing.datasets.indexing import groups_of, manifest_rows, split_table
from kinebert.preprocessing.datasets.listing import Listing, Video
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.video.probe import Facts


def video(video_id: str, label: str = "wave", group: str | None = None, **splits: str) -> Video:
    return Video(video_id=video_id, path=f"/v/{video_id}.mp4", label_name=label, group=group, splits=splits)


def row(video_id: str, label: int, part: str | None, problem: str | None = None) -> ManifestRow:
    splits = {} if part is None else {"split1": part}
    return ManifestRow(
        video_id=video_id,
        path="",
        label=label,
        label_name=f"class{label}",
        group="",
        splits=splits,
        problem=problem,
    )


def test_a_group_is_what_the_data_set_says_else_the_video_itself() -> None:
    assert groups_of([video("a", group="tape1"), video("b")], None) == {"a": "tape1", "b": "b"}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("tape[0-9]", {"x/tape1_2": "tape1", "x/tape1_3": "tape1", "y/other": "own"}),
        ("tape([0-9])_", {"x/tape1_2": "1", "x/tape1_3": "1", "y/other": "own"}),
        ("(x)/tape([0-9])", {"x/tape1_2": "x/1", "x/tape1_3": "x/1", "y/other": "own"}),
        ("^(.)/(tape)?", {"x/tape1_2": "x/tape", "x/tape1_3": "x/tape", "y/other": "y/"}),
    ],
)
def test_an_expression_goes_over_it_where_it_fits(pattern: str, expected: dict[str, str]) -> None:
    videos = [video("x/tape1_2"), video("x/tape1_3"), video("y/other", group="own")]
    assert groups_of(videos, pattern) == expected


def test_an_expression_that_fits_nothing_or_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--group-regex nothing: it fits no video id; one is 'a'"):
        groups_of([video("b"), video("a")], "nothing")
    with pytest.raises(ConfigError, match=r"--group-regex \[: this is no regular expression"):
        groups_of([video("a")], "[")


def test_rows_join_what_is_known_of_a_video() -> None:
    listing = Listing(videos=[video("a", "wave", own="train"), video("b", "")], labels={"clap": 0, "wave": 1})
    facts = [Facts(width=64, height=48, fps=25.0, codec="h264", bytes=9), Facts(problem="0 bytes")]
    first, second = manifest_rows(listing, {"a": "g", "b": "b"}, {"made": {"a": "val"}, "other": {"b": "test"}}, facts)
    assert (first.label, first.label_name, first.group) == (1, "wave", "g")
    assert first.splits == {"own": "train", "made": "val"}
    assert (first.width, first.height, first.fps, first.codec, first.bytes, first.problem) == (
        64,
        48,
        25.0,
        "h264",
        9,
        None,
    )
    assert (second.label, second.label_name, second.splits, second.problem) == (-1, "", {"other": "test"}, "0 bytes")


def test_facts_of_another_number_of_videos_are_a_bug() -> None:
    with pytest.raises(ValueError, match="zip"):
        manifest_rows(Listing(videos=[video("a")], labels={"wave": 0}), {"a": "a"}, {}, [])


def test_a_split_counts_its_parts_and_what_it_does_not_use() -> None:
    rows = [row("a", 0, "train"), row("b", 0, "train"), row("c", 1, "test"), row("d", 1, None)]
    assert split_table(rows) == {"split1": {"train": 2, "test": 1, "unused": 1}}
    assert split_table([row("d", 1, None)]) == {}
