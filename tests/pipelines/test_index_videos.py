"""The program as a user runs it: folders of real videos in, a manifest and a verdict out."""

import re
import shutil
from pathlib import Path

import av
import numpy as np
import pytest

import kinebert.pipelines.index_videos as program
from kinebert.preprocessing.datasets.manifest import read_manifest
from kinebert.preprocessing.video.probe import Facts, probe_videos
from tests.helpers.containers import write_streams


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of five frames."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(5):
            picture = np.random.default_rng(i).integers(0, 255, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def videos(tmp_path: Path, clip: Path) -> Path:
    """Two classes of ten videos, two per recording."""
    root = tmp_path / "my videos"
    for label in ("wave (1) + !", "öffnen 日本"):
        (root / label).mkdir(parents=True)
        for i in range(10):
            shutil.copy(clip, root / label / f"tape{i // 2}_{i}.mp4")
    return root


def test_indexes_a_folder_and_splits_it(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new folder" / "manifest.parquet"
    assert program.cli(["folder", str(videos), "--output", str(output), "--group-regex", "tape[0-9]"]) == 0
    rows = read_manifest(str(output))
    assert len(rows) == 20
    assert {(row.label, row.label_name) for row in rows} == {(0, "wave (1) + !"), (1, "öffnen 日本")}
    assert {(row.width, row.height, row.fps, row.codec, row.problem) for row in rows} == {(64, 48, 25.0, "h264", None)}
    parts = {row.group: {other.splits["split1"] for other in rows if other.group == row.group} for row in rows}
    assert len(parts) == 5  # a tape with clips of both classes is one recording
    assert sorted(part for (part,) in parts.values()) == ["test", "train", "train", "train", "val"]
    printed = capsys.readouterr().out
    assert "20 videos, 2 classes" in printed
    assert re.search(r"split1 +12 +4 +4 +0\n", printed)
    assert printed.endswith(
        f"Next: kinebert extract-frames --manifest '{output}' --output sets/rgb --width 171 --height 128\n"
    )

    before = output.read_bytes()
    assert program.cli(["folder", str(videos), "--output", str(output), "--group-regex", "tape[0-9]"]) == 0
    assert output.read_bytes() == before


def test_files_that_cannot_be_used_are_rows_named_and_counted(
    videos: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (videos / "wave (1) + !" / "empty.avi").touch()
    (videos / "wave (1) + !" / "broken.mp4").write_bytes(clip.read_bytes()[:300])
    (videos / "loose.mp4").touch()
    output = tmp_path / "manifest.parquet"
    args = ["folder", str(videos), "--output", str(output)]
    assert program.cli(args) == 1
    printed = capsys.readouterr().out
    assert "  0 bytes: 1: wave (1) + !/empty\n" in printed
    assert "  InvalidDataError: Invalid data found when processing input: 1: wave (1) + !/broken\n" in printed
    assert "  video outside the class folders, left out: 1: loose.mp4\n" in printed
    assert "FAILED: 2 of 22 videos (9.1%) cannot be used, more than --max-problems 0.01 allows." in printed
    problems = {row.video_id: row.problem for row in read_manifest(str(output)) if row.problem}
    assert problems.keys() == {"wave (1) + !/empty", "wave (1) + !/broken"}

    assert program.cli([*args, "--max-problems", "0.1"]) == 0
    assert "Done: 2 of 22 videos (9.1%) cannot be used." in capsys.readouterr().out


def test_official_splits_are_kept_and_another_can_be_added(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    for label in ("wave (1) + !", "öffnen 日本"):
        lines = [f"tape{i // 2}_{i}.mp4 {1 + i // 8} \n" for i in range(10)]
        (lists / f"{label}_test_split1.txt").write_text("".join(lines) + "missing_0.avi 0 \n")
    output = tmp_path / "manifest.parquet"
    args = ["hmdb51", str(videos), str(lists), "--output", str(output), "--max-problems", "0.2"]
    assert program.cli(args) == 0
    assert re.search(r"split1 +16 +0 +4 +2\n", printed := capsys.readouterr().out), printed
    assert "  missing file: 2: wave (1) + !/missing_0, öffnen 日本/missing_0\n" in printed

    assert program.cli([*args, "--val", "0.2"]) == 2
    assert "has the splits split1; give the one to make another name" in capsys.readouterr().err
    assert program.cli([*args, "--split-name", "mine", "--val", "0.25", "--test", "0", "--seed", "4"]) == 0
    rows = read_manifest(str(output))
    assert {row.splits["mine"] for row in rows} == {"train", "val"}
    assert sum("split1" in row.splits for row in rows) == 20


def test_a_split_that_is_made_is_not_called_like_a_column_of_the_lists(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As pandas writes it: an index in a column without a name, numbers with a point."""
    rows = []
    for i in range(11):
        shutil.copy(clip, tmp_path / f"c{i}.mp4")
        rows.append(f"{i},c{i}.mp4,{i}.0,9")
    (tmp_path / "list.csv").write_text("\n".join([",path,label,Mine", *rows, ""]))
    output = tmp_path / "m.parquet"
    args = ["csv", str(tmp_path / "list.csv"), "--output", str(output)]
    assert program.cli(args) == 0
    written = {row.video_id: row for row in read_manifest(str(output))}
    assert [written[f"c{i}"].label for i in range(11)] == list(range(11))
    assert {name for row in written.values() for name in row.splits} == {"split1"}
    printed = capsys.readouterr().out
    assert "Mine" in printed  # it is said that it has no use
    assert "  split made at random, as the source tells none: 1: split1\n" in printed

    before = output.read_bytes()
    assert program.cli([*args, "--split-name", "mine"]) == 2
    assert "error: the lists have a column 'Mine', which is no split; give" in capsys.readouterr().err
    assert output.read_bytes() == before


def test_duplicate_ids_write_nothing(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(videos / "öffnen 日本" / "tape0_0.mp4", videos / "öffnen 日本" / "tape0_0.mov")
    output = tmp_path / "manifest.parquet"
    assert program.cli(["folder", str(videos), "--output", str(output)]) == 2
    assert "1 video id occurs more than once: öffnen 日本/tape0_0." in capsys.readouterr().err
    assert not output.exists()


def test_a_hanging_and_a_dying_decoder_cost_one_row_each(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "index_faults.py").write_text(
        "import os, signal, time\nfrom kinebert.preprocessing.video.probe import probe_video\n\n"
        "def probe(path, **options):\n"
        "    if path.endswith('tape0_1.mp4'):\n"
        "        os.kill(os.getpid(), signal.SIGSEGV) if 'wave' in path else time.sleep(600)\n"
        "    return probe_video(path, **options)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    def faulty(paths: list[str], **options: object) -> list[Facts]:
        return probe_videos(paths, function="index_faults:probe", **options)  # type: ignore[arg-type]

    monkeypatch.setattr("kinebert.orchestration.jobs.indexing.probe_videos", faulty)
    output = tmp_path / "manifest.parquet"
    assert program.cli(["folder", str(videos), "--output", str(output), "--timeout-s", "1", "--max-problems", "1"]) == 0
    assert {row.video_id: row.problem for row in read_manifest(str(output)) if row.problem} == {
        "wave (1) + !/tape0_1": "the decoder's process was ended by SIGSEGV",
        "öffnen 日本/tape0_1": "the decoder did not answer within 1 s",
    }


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["folder", "{tmp}/absent", "--output", "{tmp}/m"],
            "absent: there is no such folder; expected a folder of videos",
        ),
        (["folder", "--output", "{tmp}/m"], "expected: kinebert index folder VIDEOS; got 0 paths"),
        (["folder", "{videos}", "--output", "{tmp}"], "this is a folder; give the name of a file in it"),
        (["folder", "{videos}", "--output", "{videos}/öffnen 日本/tape0_0.mp4/m"], "this is a file"),
        (["folder", "{videos}", "--output", "{tmp}/m", "--val", "2"], "--val is a share from 0 to 1, got 2"),
        (["folder", "{videos}", "--output", "{tmp}/m", "--val", "0.9"], "--val 0.9 and --test 0.2 leave nothing"),
        (
            ["folder", "{videos}", "--output", "{tmp}/m", "--group-regex", "tape", "--val", "0.1"],
            "20 videos in 1 group cannot be split",
        ),
        (["folder", "{videos}", "--output", "{tmp}/m", "--group-regex", "x("], "no regular expression"),
        (["folder", "{videos}", "--output", "{tmp}/m", "--num-workers", "0"], "must be positive"),
        (["ucf101", "{videos}", "{tmp}", "--output", "{tmp}/m"], "classInd.txt is not here"),
    ],
)
def test_mistakes_end_in_one_line_before_any_video_is_opened(
    args: list[str],
    message: str,
    videos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        "kinebert.orchestration.jobs.indexing.probe_videos", lambda *_, **__: pytest.fail("a video was opened")
    )
    before = sorted(tmp_path.rglob("*"))
    assert program.cli([arg.format(videos=videos, tmp=tmp_path) for arg in args]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_relative_paths_are_refused_in_a_submitted_job(
    videos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(videos.parent)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert program.cli(["folder", str(videos), "--output", "manifest.parquet"]) == 2
    assert program.cli(["folder", videos.name, "--output", str(videos.parent / "m")]) == 2
    assert capsys.readouterr().err.count("a relative path in a submitted job") == 2
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR")
    assert program.cli(["folder", videos.name, "--output", "manifest.parquet"]) == 0
    assert {Path(row.path).is_absolute() for row in read_manifest(str(videos.parent / "manifest.parquet"))} == {True}


def test_too_few_videos_for_a_split_are_indexed_all_the_same(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "videos" / "wave").mkdir(parents=True)
    shutil.copy(clip, tmp_path / "videos" / "wave")
    assert program.cli(["folder", str(tmp_path / "videos"), "--output", str(tmp_path / "m")]) == 0
    assert "no split was made: 1: 1 videos in 1 group cannot be split" in capsys.readouterr().out
    assert [dict(row.splits) for row in read_manifest(str(tmp_path / "m"))] == [{}]


def test_help_names_every_source_and_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        program.cli(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for source, usage in {
        "folder": "VIDEOS",
        "csv": "FILE",
        "ava": "VIDEOS LIST",
        "hmdb51": "VIDEOS LISTS",
        "ucf101": "VIDEOS LISTS",
        "kinetics": "VIDEOS CSV",
        "ssv2": "VIDEOS LABELS",
    }.items():
        assert f"\n{source} {usage}" in text


def test_files_with_several_streams_are_named_and_the_option_chooses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "videos" / "wave"
    folder.mkdir(parents=True)
    write_streams(folder / "two.mkv", [(64, 48, 6), (96, 64, 9)], None)
    args = ["folder", str(tmp_path / "videos"), "--output", str(tmp_path / "m.parquet")]
    for options, width, said in (
        ([], 96, "several video streams: the default one, else the largest, is taken (--video-stream): 1: wave/two"),
        (["--video-stream", "0"], 64, "several video streams: number 0 is taken: 1: wave/two"),
    ):
        assert program.cli([*args, *options]) == 0
        assert said in capsys.readouterr().out
        assert [row.width for row in read_manifest(str(tmp_path / "m.parquet"))] == [width]
    assert program.cli([*args, "--max-pixels", "3000"]) == 1
    assert "more than max_pixels" in capsys.readouterr().out


def test_segments_are_counted_and_their_file_is_looked_into_once(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(clip, tmp_path / "a.mp4")
    shutil.copy(clip, tmp_path / "b.mp4")
    rows = "a.mp4,x,0,0.08\na.mp4,y,0.08,0.2\na.mp4,x,1,9\nb.mp4,y,,\n"
    (tmp_path / "list.csv").write_text(f"path,label,start,end\n{rows}")
    output = tmp_path / "manifest.parquet"
    assert program.cli(["csv", str(tmp_path / "list.csv"), "--output", str(output)]) == 0
    printed = capsys.readouterr()
    assert "4 videos, 2 classes" in printed.out
    assert "  3 of them are segments of 1 file\n" in printed.out
    assert "segment that ends after the end of its file: 1: a_s1-9" in printed.out
    assert "looked into 2 of 2 videos" in printed.err
    found = {row.video_id: (row.group, str(row.interval)) for row in read_manifest(str(output))}
    assert found == {
        "a_s0-0.08": ("a", "[0, 0.08) s"),
        "a_s0.08-0.2": ("a", "[0.08, 0.2) s"),
        "a_s1-9": ("a", "[1, 9) s"),
        "b": ("b", "None"),
    }
