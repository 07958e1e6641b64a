"""The colour wheel against values worked out by hand, and pictures that show what they say."""

from pathlib import Path

import numpy as np
import pytest

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.sets.contact_sheet import colour_wheel, contact_sheet, flow_to_colour
from kinebert.preprocessing.sets.reader import ShardSet
from tests.helpers.sets import make_rows, make_set


def colour(x: float, y: float, largest: float = 1.0) -> list[int]:
    drawn: list[int] = flow_to_colour(np.array([[[x, y]]], np.float32), largest)[0, 0].tolist()
    return drawn


def test_the_wheel_has_the_steps_of_the_benchmark() -> None:
    wheel = colour_wheel()
    assert wheel.shape == (55, 3)
    corners = {0: (1, 0, 0), 15: (1, 1, 0), 21: (0, 1, 0), 25: (0, 1, 1), 36: (0, 0, 1), 49: (1, 0, 1)}
    for index, rgb in corners.items():
        assert wheel[index] == pytest.approx(rgb, abs=1e-6)
    assert wheel[7] == pytest.approx((1, 7 / 15, 0))


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (1, 0, (255, 0, 0)),  # right: hue 0 of 54, red
        (0, 1, (255, 229, 0)),  # down: hue 13.5, yellow: green at 13.5 / 15
        (-1, 0, (0, 208, 255)),  # left: hue 27, two of eleven steps from cyan to blue: green at 9 / 11
        (0, -1, (88, 0, 255)),  # up: hue 40.5, 4.5 of thirteen steps from blue to magenta: red at 4.5 / 13
    ],
)
def test_directions_have_the_hues_of_middlebury(x: float, y: float, expected: tuple[int, int, int]) -> None:
    assert colour(x, y) == pytest.approx(expected, abs=1)
    half = [255 - (255 - value) / 2 for value in expected]
    assert colour(x / 2, y / 2) == pytest.approx(half, abs=1)
    assert colour(3 * x, 3 * y, largest=3) == pytest.approx(expected, abs=1)
    assert colour(2 * x, 2 * y) == pytest.approx([0.75 * value for value in expected], abs=1)  # beyond: darker


def test_no_motion_is_white_whatever_the_signs_of_zero() -> None:
    for x in (0.0, -0.0):
        for y in (0.0, -0.0):
            assert colour(x, y) == [255, 255, 255]
    assert colour(1, -0.0) == pytest.approx([255, 0, 42], abs=1)  # the last hue before red comes round


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[ShardSet, ShardSet]:
    folder: Path = tmp_path_factory.mktemp("sets")
    rows = make_rows(folder / "videos", [9, 20])
    recipe = {"resize": "none"}
    return (
        make_set(rows, folder / "rgb", FrameRecipe(**recipe)),  # type: ignore[arg-type]
        make_set(rows, folder / "flow", FlowRecipe(**recipe)),  # type: ignore[arg-type]
    )


def test_a_sheet_shows_the_frames_and_flow_that_are_stored(sets: tuple[ShardSet, ShardSet]) -> None:
    """A texture that moves right: below each frame a field that is red, not white."""
    frames, flow = sets
    sheet = contact_sheet("class1/v01", frames, flow, num_images=4, columns=4)
    frame_rows = sheet[91 : 91 + 120, 6 : 6 + 160]  # head of 61 + 2 x 6, caption of 18; 64x48 drawn 160 wide
    stored = frames.read_clip(frames.entry("class1/v01"), [0])[0]
    assert frame_rows.reshape(-1, 3).mean(0) == pytest.approx(stored.reshape(-1, 3).mean(0), abs=3)
    red, green, blue = sheet[91 + 126 + 20 : 91 + 126 + 100, 26:146].reshape(-1, 3).mean(0)
    assert red > 240
    assert max(green, blue) < 130
    assert contact_sheet("class1/v01", frames, None, num_images=4).shape[0] < sheet.shape[0]
    assert contact_sheet("class0/v00", None, flow, num_images=50).shape[2] == 3


def test_a_video_that_is_not_there(sets: tuple[ShardSet, ShardSet]) -> None:
    with pytest.raises(UserError, match="there is no video 'class1/v99'. There are 2, such as class0/v00, class1/v01"):
        contact_sheet("class1/v99", *sets)
