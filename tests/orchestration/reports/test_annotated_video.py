"""Videos with what is said of them below the picture."""

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.orchestration.reports.annotated_video import Window, annotate_video
from kinebert.preprocessing.errors import UserError, VideoError
from tests.helpers.videos import moving_texture, write_video

WINDOWS = [
    Window(0, 4, (("wave", 0.9), ("clap", 0.1))),
    Window(5, 9, (("a class whose name is far too long for its bar", 0.6), ("wave", 0.4))),
]
PANEL = 92


def frames_of(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize(("width", "height"), [(64, 48), (352, 240), (322, 182)])
def test_every_frame_is_there_above_its_panel(tmp_path: Path, width: int, height: int) -> None:
    frames = moving_texture(10, width, height)
    source = write_video(tmp_path / "in.mp4", frames)
    assert annotate_video(str(source), str(tmp_path / "out.mp4"), WINDOWS, 25.0) == 10
    written = frames_of(tmp_path / "out.mp4")
    assert len(written) == 10
    scale = max(1.0, 320 / width)
    sides = round(height * scale) // 2 * 2 + PANEL, round(width * scale) // 2 * 2
    assert {frame.shape for frame in written} == {(*sides, 3)}
    if scale == 1:
        pictures = frames_of(source)
        for frame, picture in zip(written, pictures, strict=True):
            assert difference(frame[: sides[0] - PANEL], picture[: sides[0] - PANEL, : sides[1]]) < 8


def test_a_frame_shows_the_window_whose_middle_is_nearest(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mp4", moving_texture(10, 320, 180))
    annotate_video(str(source), str(tmp_path / "out.mp4"), WINDOWS, 25.0)
    panels = [frame[-PANEL:] for frame in frames_of(tmp_path / "out.mp4")]
    for number in range(10):
        same, other = (0, 9) if number < 5 else (9, 0)
        assert difference(panels[number], panels[same]) < difference(panels[number], panels[other]) / 3


def test_longer_bars_are_of_larger_shares(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mp4", moving_texture(4, 320, 180))
    blue = []
    for share in (0.2, 0.9):
        annotate_video(str(source), str(tmp_path / "out.mp4"), [Window(0, 3, (("wave", share),))], 25.0)
        panel = frames_of(tmp_path / "out.mp4")[0][-PANEL:].astype(int)
        blue.append(((panel[..., 2] - panel[..., 0]) > 60).mean())
    assert blue[1] / blue[0] == pytest.approx(0.9 / 0.2, rel=0.15)


def test_the_rate_is_that_of_the_video_or_a_usual_one(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mp4", moving_texture(4))
    for given, rate in ((12.5, 12.5), (0.0, 25.0)):
        annotate_video(str(source), str(tmp_path / "out.mp4"), WINDOWS, given)
        with av.open(str(tmp_path / "out.mp4")) as container:
            assert float(container.streams.video[0].average_rate or 0) == pytest.approx(rate)


def test_what_cannot_be_read_or_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises((VideoError, UserError)):
        annotate_video(str(tmp_path / "text.mp4"), str(tmp_path / "out.mp4"), WINDOWS, 25.0)
    source = write_video(tmp_path / "in.mp4", moving_texture(4))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write this video"):
        annotate_video(str(source), str(tmp_path / "file" / "out.mp4"), WINDOWS, 25.0)
    assert {path.name for path in tmp_path.iterdir()} == {"text.mp4", "in.mp4", "file"}
