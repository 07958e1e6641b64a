"""Which files are opened as videos, and which stream of them: by looking into it and by extracting alike."""

import os
import subprocess
import sys
from pathlib import Path

import av
import pytest

from kinebert.preprocessing.datasets.listing import VIDEO_SUFFIXES
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.video.frames import VideoFrames
from kinebert.preprocessing.video.probe import probe_video, probe_videos
from tests.helpers.containers import LISTS_OF_OTHERS, WRITERS, giant, with_cover, with_external_data, write_streams
from tests.helpers.paths import SHARED
from tests.helpers.requirements import missing, needs
from tests.helpers.videos import moving_texture, write_video

CASES = SHARED / "cases"
AS_CODED = FrameRecipe(resize="none")
NO_CONTAINER = "not a container of videos that is read here; playlists and lists of other files are not followed"


def frames_of(path: Path, recipe: FrameRecipe = AS_CODED) -> tuple[int, str | None]:
    video = VideoFrames(str(path), recipe)
    return sum(1 for _ in video), video.problem


@pytest.mark.parametrize("suffix", sorted(VIDEO_SUFFIXES))
def test_every_kind_of_file_that_folders_are_searched_for_is_read(suffix: str, tmp_path: Path) -> None:
    """Whatever it is called: the reader is chosen by what is in the file."""
    path = tmp_path / f"a{suffix}"
    writer, codec, width, pixels = WRITERS[suffix]
    with av.open(str(path), "w", format=writer) as file:
        stream = file.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, 96, pixels
        for picture in moving_texture(10, width, 96):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())
    renamed = path.with_suffix(".avi" if suffix != ".avi" else ".mkv")
    for name in (path, path.rename(renamed)):
        assert probe_video(str(renamed)).problem is None, name
        assert frames_of(renamed) == (10, None), name


@pytest.mark.parametrize("kind", sorted(LISTS_OF_OTHERS))
def test_a_file_that_names_others_is_not_followed(kind: str, tmp_path: Path) -> None:
    """The words are the same whether the other is there or not: nobody looked."""
    for part in ("here.mp4", "here.ts", "here.mkv"):
        write_video(tmp_path / part, moving_texture(5))
    said = set()
    for other in ("here", "gone"):
        path = tmp_path / f"{kind}.avi"
        path.write_text(LISTS_OF_OTHERS[kind].format(other=other))
        facts = probe_video(str(path))
        count, problem = frames_of(path)
        assert count == 0
        assert facts.problem == problem
        said.add(problem)
    (words,) = said
    assert words in (NO_CONTAINER, "InvalidDataError: Invalid data found when processing input")
    assert kind != "concat" or words == NO_CONTAINER


def test_pictures_in_another_file_are_not_fetched(tmp_path: Path) -> None:
    """A film of QuickTime may say that its pictures lie elsewhere."""
    other = write_video(tmp_path / "other.mov", moving_texture(10))
    path = with_external_data(other, tmp_path / "film.mov")
    with av.open(str(path), options={"enable_drefs": "1", "use_absolute_path": "1"}) as file:
        assert sum(1 for _ in file.decode(video=0)) == 10, "else this shows nothing"
    assert frames_of(path)[0] == 0
    assert probe_video(str(path)).problem is not None


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert frames_of(tmp_path / "pipe.mp4") == (0, "not a regular file")
    assert probe_video(str(tmp_path / "pipe.mp4")).problem is not None


def test_a_cover_is_no_video(tmp_path: Path) -> None:
    film = with_cover(tmp_path / "film.mp4", moving_texture(10, 320, 240))
    assert frames_of(film) == (10, None)
    facts = probe_video(str(film))
    assert (facts.width, facts.height, facts.codec, facts.num_streams) == (320, 240, "h264", 1)
    song = with_cover(tmp_path / "song.mp4", [])
    assert frames_of(song) == (0, "no video stream")
    assert probe_video(str(song)).problem == "no video stream"


@needs("cases", (CASES / "cover-art-first").is_dir(), "the folder of cases is not beside this checkout")
@pytest.mark.parametrize(
    ("name", "count", "facts"),
    [
        ("cover-art-first/videos/wave/cover_first.mp4", 50, (320, 240, 25.0, 1, None)),
        ("cover-art-audio-only/videos/wave/audio_cover.mp4", 0, (0, 0, 0.0, 1, "no video stream")),
        ("two-video-streams/videos/wave/two_streams.mp4", 50, (320, 240, 25.0, 2, None)),
    ],
)
def test_files_that_were_taken_for_what_they_are_not(name: str, count: int, facts: tuple[object, ...]) -> None:
    assert frames_of(CASES / name) == (count, facts[-1])
    found = probe_video(str(CASES / name))
    assert (found.width, found.height, found.fps, found.num_streams, found.problem) == facts


SMALL, LARGE = (64, 48, 6), (96, 64, 9)


@pytest.mark.parametrize(
    ("streams", "default", "taken"),
    [
        ([SMALL, LARGE], None, 1),
        ([LARGE, SMALL], None, 0),
        ([LARGE, SMALL], 1, 1),
        ([SMALL, LARGE], 0, 0),
        ([SMALL, SMALL], None, 0),
    ],
)
def test_the_default_stream_is_taken_then_the_largest_then_the_first(
    streams: list[tuple[int, int, int]], default: int | None, taken: int, tmp_path: Path
) -> None:
    path = write_streams(tmp_path / "a.mkv", streams, default)
    width, height, count = streams[taken]
    facts = probe_video(str(path))
    assert (facts.width, facts.height, facts.num_streams) == (width, height, 2)
    assert frames_of(path) == (count, None)


def test_an_option_chooses_the_stream_in_the_index_and_the_recipe(tmp_path: Path) -> None:
    path = write_streams(tmp_path / "a.mkv", [SMALL, LARGE], 1)
    for number, (width, height, count) in enumerate((SMALL, LARGE)):
        (facts,) = probe_videos([str(path)], num_workers=1, video_stream=number)
        assert (facts.width, facts.height) == (width, height)
        assert frames_of(path, FrameRecipe(resize="none", video_stream=number)) == (count, None)
    assert probe_video(str(path), -1).problem == "no video stream -1: there are 2, counted from 0"
    lacking = "no video stream 2: there are 2, counted from 0"
    assert probe_video(str(path), 2).problem == lacking
    assert frames_of(path, FrameRecipe(resize="none", video_stream=2)) == (0, lacking)


def test_the_chosen_stream_is_in_the_digest_and_the_usual_one_is_not() -> None:
    assert FrameRecipe(video_stream=0).digest() != FrameRecipe().digest() == "62f6f99bd951"
    assert FlowRecipe(video_stream=1).plain()["video_stream"] == 1
    assert "video_stream" not in FlowRecipe().plain()
    with pytest.raises(ConfigError, match="video_stream must be at least 0, got -1"):
        FrameRecipe(video_stream=-1)


@pytest.mark.parametrize(("name", "marker"), [("a.mp4", b"avc1"), ("a.mkv", b"ISO/AVC")])
def test_a_codec_that_nobody_knows_is_said(name: str, marker: bytes, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, moving_texture(5))
    data = path.read_bytes()
    start = data.index(marker, data.find(b"stsd") if name == "a.mp4" else 0)
    path.write_bytes(data[:start] + b"z" * len(marker) + data[start + len(marker) :])
    words = "the codec of its video stream is not known to this decoder"
    assert probe_video(str(path)).problem == words
    assert frames_of(path) == (0, words)


def test_large_pictures_are_refused_by_the_index_and_by_extraction(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_texture(5, 128, 96))
    assert frames_of(path) == (5, None)
    video = VideoFrames(str(path), AS_CODED, max_pixels=128 * 96 - 1)
    assert list(video) == []
    assert "max_pixels" in str(video.problem)
    assert "max_pixels" in str(probe_video(str(path), max_pixels=128 * 96 - 1).problem)
    assert probe_video(str(path), max_pixels=128 * 112).problem is None  # rows that coding adds count


def test_pictures_that_grow_in_the_middle_are_refused_from_there(tmp_path: Path) -> None:
    small = write_video(tmp_path / "small.h264", moving_texture(6, 64, 48)).read_bytes()
    path = tmp_path / "both.h264"
    path.write_bytes(small + write_video(tmp_path / "large.h264", moving_texture(6, 256, 192)).read_bytes())
    assert frames_of(path) == (12, None)
    video = VideoFrames(str(path), AS_CODED, max_pixels=64 * 64)
    assert 0 < sum(1 for _ in video) <= 6
    assert "max_pixels" in str(video.problem)


@pytest.mark.parametrize(("limit", "count", "least_mb", "most_mb"), [("", 0, 0, 60), ("100000000", 2, 300, 2000)])
def test_a_giant_picture_takes_no_memory(limit: str, count: int, least_mb: int, most_mb: int, tmp_path: Path) -> None:
    """Its size is refused before there is memory for it. Let in, it takes hundreds of megabytes at any output size."""
    code = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from kinebert.preprocessing.recipe import FrameRecipe\n"
        "from kinebert.preprocessing.video.frames import VideoFrames\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) // 1024\n"
        "before, limit = peak(), {'max_pixels': int(sys.argv[2])} if sys.argv[2] else {}\n"
        "count = sum(1 for _ in VideoFrames(sys.argv[1], FrameRecipe(), **limit))\n"
        "print(count, peak() - before)\n"
    )
    if not Path("/proc/self/status").exists():
        missing("system", "there is no /proc")
    path = giant(tmp_path / "giant.avi")
    done = subprocess.run([sys.executable, "-c", code, str(path), limit], capture_output=True, text=True, check=True)
    found, megabytes = map(int, done.stdout.split())
    assert found == count
    assert least_mb <= megabytes <= most_mb
