"""Segments of video: as many packets as frames, the same bytes every time, and any frame of them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.preprocessing.video.h264 import SegmentEncoder, decode_segment
from kinebert.preprocessing.video.parts import Part
from tests.helpers.videos import moving_texture

SIZE = (47, 65)
"""Odd both ways, which H.264 is not."""


def frames(count: int, height: int = SIZE[0], width: int = SIZE[1]) -> NDArray[np.uint8]:
    """Grey: colours are stored at half the resolution."""
    return np.stack(moving_texture(count, width, height, seed=3))[..., :1].repeat(3, axis=-1)


def segments(frames_THW3: NDArray[np.uint8], crf: int = 18) -> list[list[bytes]]:
    encoder = SegmentEncoder(crf)
    found = [encoder.add(frame) for frame in frames_THW3]
    assert [len(packets) for packets in found] == [32 * (i % 32 == 31) for i in range(len(frames_THW3))]
    return [packets for packets in (*found, encoder.end()) if packets]


@pytest.mark.parametrize("count", [1, 2, 31, 32, 33, 70])
def test_every_frame_comes_back_in_its_place(count: int) -> None:
    given = frames(count)
    coded = segments(given)
    assert [len(packets) for packets in coded] == [32] * (count // 32) + [count % 32] * (count % 32 > 0)
    read = np.concatenate([decode_segment(packets, range(len(packets)), SIZE) for packets in coded])
    assert read.shape == given.shape
    difference = np.abs(read.astype(int) - given).mean(axis=(1, 2, 3))
    assert difference.max() < 3
    if count > 1:
        assert np.abs(np.diff(given.astype(int), axis=0)).mean(axis=(1, 2, 3)).min() > 5  # so each is in its own place
    assert abs((read.astype(int) - given).mean()) < 0.3


def test_the_same_frames_give_the_same_bytes() -> None:
    given = frames(40)
    assert segments(given) == segments(given)
    assert segments(given)[1] == segments(given[32:])[0]  # a segment knows nothing of those before it


def test_a_lower_quality_is_smaller() -> None:
    sizes = [sum(map(len, segments(frames(32), crf)[0])) for crf in (0, 18, 40)]
    assert sizes[0] > sizes[1] > 2 * sizes[2]


def test_any_frames_and_any_part_of_them() -> None:
    (packets,) = segments(frames(20))
    whole = decode_segment(packets, range(20), SIZE)
    for wanted in ([0], [19], [3, 4, 11], list(range(0, 20, 3))):
        np.testing.assert_array_equal(decode_segment(packets[: wanted[-1] + 1], wanted, SIZE), whole[wanted])
    part = Part(5, 7, 20, 31)
    np.testing.assert_array_equal(decode_segment(packets, [2, 9], SIZE, part), whole[[2, 9], 5:25, 7:38])


def test_an_edge_of_an_odd_picture_is_what_it_was() -> None:
    given = np.zeros((1, *SIZE, 3), np.uint8)
    given[:, -1], given[:, :, -1] = 255, 255
    (packets,) = segments(given, crf=0)
    read = decode_segment(packets, [0], SIZE)[0]
    assert read[-1].min() > 250
    assert read[:, -1].min() > 250


def test_colours_come_back_as_red_green_and_blue() -> None:
    given = np.zeros((1, 32, 48, 3), np.uint8)
    given[:, :, :16, 0] = given[:, :, 16:32, 1] = given[:, :, 32:, 2] = 200  # blue, green, red
    read = decode_segment(segments(given)[0], [0], (32, 48))[0]
    for column, channel in ((8, 2), (24, 1), (40, 0)):
        np.testing.assert_allclose(read[16, column], 200 * (np.arange(3) == channel), atol=8)


@pytest.mark.parametrize("damage", ["no H.264", "empty", "a frame lost", "cut", "flipped bits"])
def test_what_is_no_such_segment_is_refused(damage: str) -> None:
    (packets,) = segments(frames(6))
    broken = list(packets)
    if damage == "no H.264":
        broken[0] = bytes(range(256)) * 3
    elif damage == "empty":
        broken[2] = b""
    elif damage == "a frame lost":
        del broken[0]
    elif damage == "cut":
        broken[0] = broken[0][: len(broken[0]) // 2]
    else:
        middle = len(broken[0]) // 2
        broken[0] = broken[0][:middle] + bytes(255 - byte for byte in broken[0][middle : middle + 64]) + b"\0"
    with pytest.raises(ValueError, match="packets"):
        decode_segment(broken, [1], SIZE)


def test_pictures_of_another_size_are_refused_before_they_take_memory() -> None:
    (large,) = segments(frames(2, 480, 640))
    for packets, size in ((large, SIZE), (segments(frames(2))[0], (480, 640))):
        with pytest.raises(ValueError, match="packets"):
            decode_segment(packets, [0], size)


def test_pictures_too_large_for_it_are_named() -> None:
    with pytest.raises(ValueError, match="20000x20 pixels cannot be H.264"):
        SegmentEncoder(18).add(np.zeros((20, 20_000, 3), np.uint8))
