"""Stacks of flow fields against hand-worked indices."""

import numpy as np
import pytest

from kinebert.training.clips.sampling import eval_clips
from kinebert.training.clips.stacking import places, stacks


@pytest.mark.parametrize(
    ("num_fields", "stack", "expected"), [(12, 1, 12), (12, 3, 10), (10, 10, 1), (11, 10, 2), (9, 10, 1), (1, 10, 1)]
)
def test_places_are_where_a_whole_stack_begins(num_fields: int, stack: int, expected: int) -> None:
    assert places(num_fields, stack) == expected
    np.testing.assert_array_equal(places(np.array([num_fields] * 2), stack), [expected] * 2)


@pytest.mark.parametrize(
    ("begins", "stack", "num_fields", "expected"),
    [
        ([0, 4], 3, 7, [[0, 1, 2], [4, 5, 6]]),
        ([0, 1], 3, 4, [[0, 1, 2], [1, 2, 3]]),
        ([0, 0], 4, 2, [[0, 1, 1, 1], [0, 1, 1, 1]]),
        ([5, 3], 1, 6, [[5], [3]]),
    ],
)
def test_stacks_are_consecutive_and_repeat_the_last_field_of_a_video_without_enough(
    begins: list[int], stack: int, num_fields: int, expected: list[list[int]]
) -> None:
    np.testing.assert_array_equal(stacks(np.array(begins), stack, num_fields), expected)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ("sections", [[1, 2, 3], [3, 4, 5], [5, 6, 7]]),  # middles of 3 sections of the 7 places 0 to 6
        ("dense", [[2, 3, 4], [3, 4, 5], [4, 5, 6]]),  # the centre 3 of 7 places
    ],
)
def test_the_centre_clip_of_a_video_of_nine_fields(sampling: str, expected: list[list[int]]) -> None:
    (begins,) = eval_clips(sampling, "single", places(9, 3), 3, 1)  # type: ignore[arg-type]
    np.testing.assert_array_equal(stacks(begins, 3, 9), expected)


def test_a_clip_too_long_for_a_video_goes_on_from_its_beginning_and_no_stack_is_torn() -> None:
    (begins,) = eval_clips("dense", "single", places(5, 3), 4, 1)
    np.testing.assert_array_equal(stacks(begins, 3, 5), [[0, 1, 2], [1, 2, 3], [2, 3, 4], [0, 1, 2]])
