"""Facts of real and damaged files, and decoders that hang or die."""

import csv
import os
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from kinebert.preprocessing.fingerprints import file_fingerprint
from kinebert.preprocessing.storage import open_input
from kinebert.preprocessing.video.probe import Facts, probe_video, probe_videos
from tests.helpers.paths import SHARED
from tests.helpers.requirements import needs

ODD_CLIPS = SHARED / "data" / "odd-clips"
FAULTS = """
import os, signal, time
from kinebert.preprocessing.video.probe import Facts, probe_video

def probe(path):
    if "dies" in os.path.basename(path):
        os.kill(os.getpid(), signal.SIGSEGV)
    if "hangs" in os.path.basename(path):
        time.sleep(600)
    if "prints" in os.path.basename(path):
        print("noise that a library writes to standard output")
        os.write(1, b"more of it\\n")
    if "leaves" in os.path.basename(path):
        os._exit(3)
    return probe_video(path) if "real" in os.path.basename(path) else Facts(codec=os.path.basename(path))
"""


def encode(path: Path, num_frames: int = 5, width: int = 64, height: int = 48, rate: int = 25) -> Path:
    """Write a short H.264 video with moving texture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
        for i in range(num_frames):
            frame = av.VideoFrame.from_ndarray(np.roll(noise, i, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "probe_faults.py").write_text(FAULTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "probe_faults:probe"


def test_reads_the_facts_of_a_video(tmp_path: Path) -> None:
    path = encode(tmp_path / "日本 (ü) + ! #;%20 clip.mp4", num_frames=10, width=80, height=48, rate=20)
    facts = probe_video(str(path))
    assert facts == Facts(
        width=80,
        height=48,
        fps=20.0,
        duration_s=0.5,
        codec="h264",
        pixel_aspect=1.0,
        bytes=path.stat().st_size,
        fingerprint=file_fingerprint(str(path)),
    )


def test_says_why_a_file_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "empty.avi").touch()
    (tmp_path / "noise.avi").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "folder.avi").mkdir()
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    whole = encode(tmp_path / "whole.mp4")
    (tmp_path / "headless.mp4").write_bytes(whole.read_bytes()[:200])
    problems = {
        name: probe_video(str(tmp_path / name)).problem
        for name in ("absent.avi", "empty.avi", "noise.avi", "folder.avi", "sound.mp4", "headless.mp4", "whole.mp4")
    }
    assert problems == {
        "absent.avi": "missing file",
        "empty.avi": "0 bytes",
        "noise.avi": "InvalidDataError: Invalid data found when processing input",
        "folder.avi": "a folder, not a file",
        "sound.mp4": "no video stream",
        "headless.mp4": "InvalidDataError: Invalid data found when processing input",
        "whole.mp4": None,
    }
    assert probe_video(str(tmp_path / "noise.avi")).bytes == 5000


def test_a_uri_gives_the_same_facts_as_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import kinebert.preprocessing.video.container as module

    path = encode(tmp_path / "clip.mp4")
    # the only remote filesystem at hand is the local one behind pyarrow's file objects
    monkeypatch.setattr(module, "is_local", lambda _: False)
    opened: list[str] = []

    def watched(uri: str) -> object:
        opened.append(uri)
        return open_input(uri)

    monkeypatch.setattr(module, "open_input", watched)
    through_pyarrow = probe_video(str(path))
    monkeypatch.undo()
    assert opened == [str(path)]
    assert through_pyarrow == probe_video(str(path))
    assert through_pyarrow.problem is None


def test_a_decoder_that_dies_or_hangs_is_a_row_and_hurts_nobody_else(faults: str, tmp_path: Path) -> None:
    real = encode(tmp_path / "real.mp4")
    names = [f"video{i}" for i in range(12)]
    names[2], names[5], names[7], names[11] = "dies", "hangs", "leaves", "prints"
    progress: list[tuple[int, int]] = []
    begin = time.monotonic()
    facts = probe_videos(
        [*names, str(real)], num_workers=2, timeout_s=1.0, function=faults, on_progress=lambda *at: progress.append(at)
    )
    assert time.monotonic() - begin < 30
    problems = {i: fact.problem for i, fact in enumerate(facts) if fact.problem}
    assert problems == {
        2: "the decoder's process was ended by SIGSEGV",
        5: "the decoder did not answer within 1 s",
        7: "the decoder's process ended with status 3",
    }
    assert [fact.codec for i, fact in enumerate(facts) if i not in problems] == [
        *(name for i, name in enumerate(names) if i not in problems),
        "h264",
    ]
    assert progress[-1] == (13, 13)
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)


def test_leaves_no_process_behind_when_it_is_interrupted(faults: str) -> None:
    def interrupt(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    before = children()
    with pytest.raises(KeyboardInterrupt):
        probe_videos(["quick", "hangs", "hangs"], num_workers=2, timeout_s=500, function=faults, on_progress=interrupt)
    assert children() == before


def test_a_worker_that_cannot_start_is_a_bug_and_not_a_video(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="before it was ready"):
        probe_videos(["a", "b"], num_workers=1, function="kinebert.preprocessing.no_such_module:probe")
    assert "no_such_module" in capfd.readouterr().err


def test_no_videos_need_no_processes() -> None:
    assert probe_videos([]) == []


def test_the_parents_death_ends_a_hanging_worker(faults: str, tmp_path: Path) -> None:
    """The alarm is the worker's own; shortened here by asking for a limit below zero."""
    worker = subprocess.Popen(
        [sys.executable, "-c", "from kinebert.preprocessing.video.probe import serve; serve()", faults, "-29"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert worker.stdin is not None
    worker.stdin.write(b'"hangs"\n')
    worker.stdin.close()
    assert worker.wait(20) == -14  # SIGALRM


def children() -> set[str]:
    """Process ids of this process's children."""
    listed = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True)
    return {line for line in listed.stdout.splitlines() if "ps -o" not in line}


@needs("clips", ODD_CLIPS.is_dir(), "the folder of odd clips is not beside this checkout")
def test_agrees_with_the_table_of_odd_clips() -> None:
    with (ODD_CLIPS / "manifest.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    facts = probe_videos([str(ODD_CLIPS / row["file"]) for row in table], num_workers=2)
    for row, fact in zip(table, facts, strict=True):
        assert fact.problem is None, row["file"]
        assert (fact.width, fact.height, fact.codec) == (int(row["width"]), int(row["height"]), row["codec"])
        assert fact.bytes == int(row["bytes"])
        assert fact.fps == pytest.approx(float(Fraction(row["avg_fps"])))
        assert fact.rotation == int(row["rotation"] or 0)
        assert fact.pixel_aspect == pytest.approx(float(Fraction(row["sar"])) if row["sar"][:1].isdigit() else 1.0)
