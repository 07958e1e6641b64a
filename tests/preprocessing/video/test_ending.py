"""Files that were cut off are marked, wherever the cut is; whole ones are not, whatever their sound does."""

from pathlib import Path

import pytest

from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.video.frames import VideoFrames
from tests.helpers.containers import WITH_SOUND, write_with_sound
from tests.helpers.videos import moving_texture, write_video

RECIPE = FrameRecipe(width=32, height=24)
NUM_FRAMES, CUTS = 60, 36


def decode(path: Path) -> tuple[int, str | None]:
    video = VideoFrames(str(path), RECIPE)
    return sum(1 for _ in video), video.problem


@pytest.mark.parametrize("name", WITH_SOUND)
@pytest.mark.parametrize("sound_s", [2.4, 1.4, 3.4])
def test_whole_files_are_whole_however_long_the_sound_is(name: str, sound_s: float, tmp_path: Path) -> None:
    path = write_with_sound(tmp_path / name, moving_texture(NUM_FRAMES), sound_s)
    assert decode(path) == (NUM_FRAMES, None)


@pytest.mark.parametrize("name", WITH_SOUND)
def test_cut_files_with_sound_are_marked_wherever_they_are_cut(name: str, tmp_path: Path) -> None:
    """Of 36 cuts of a Matroska file 14 were stored as if they were whole."""
    path = write_with_sound(tmp_path / name, moving_texture(NUM_FRAMES), 2.4)
    data = path.read_bytes()
    unmarked = []
    for cut in range(1, CUTS + 1):
        path.write_bytes(data[: len(data) * cut // (CUTS + 1)])
        count, problem = decode(path)
        assert count <= NUM_FRAMES
        if problem is None:
            unmarked.append((cut, count))
    assert unmarked == []


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "libvpx")])
def test_a_cut_of_the_last_bytes_is_noticed(name: str, codec: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, moving_texture(NUM_FRAMES), codec)
    data = path.read_bytes()
    path.write_bytes(data[:-40])
    assert "the file ends early" in str(decode(path)[1])


@pytest.mark.parametrize("name", ["a.mkv", "a.webm"])
def test_lengths_in_time_tell_where_those_in_bytes_are_not_written(name: str, tmp_path: Path) -> None:
    """As of recordings that were streamed: the segment's size is not known."""
    path = write_with_sound(tmp_path / name, moving_texture(NUM_FRAMES), 3.4)
    data = bytearray(path.read_bytes())
    at = data.index(b"\x18\x53\x80\x67") + 4
    data[at : at + 8] = b"\x01" + b"\xff" * 7
    path.write_bytes(data)
    assert decode(path) == (NUM_FRAMES, None)
    path.write_bytes(data[: len(data) // 2])
    assert "the file ends early" in str(decode(path)[1])
    tag = data.index(b"\x45\xa3\x88DURATION")  # the tags of streams are gone, the file's own length is there
    while tag >= 0:
        data[tag + 3 : tag + 11] = b"NOLENGTH"
        tag = data.find(b"\x45\xa3\x88DURATION")
    path.write_bytes(data)
    assert decode(path) == (NUM_FRAMES, None)
    path.write_bytes(data[: len(data) // 2])
    assert "the file ends early" in str(decode(path)[1])
