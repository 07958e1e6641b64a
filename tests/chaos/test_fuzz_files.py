"""Three hundred mutilated videos through index and extraction: each is stored as far as it goes, marked, or rejected.

None is lost, none hangs, none ends a program with a traceback, and no frame count is wrong.
"""

import re
from collections import Counter
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

from kinebert.pipelines import evaluate, extract_frames, index_videos, train, verify
from kinebert.preprocessing.datasets.manifest import read_manifest
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.video.probe import probe_videos
from tests.helpers.mutilated import Mutilated, mutilate
from tests.helpers.sets import make_rows, make_set, small_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
COUNT, SEED = 300, 11
A_BUG = re.compile(r"Traceback|AttributeError|KeyError|TypeError|IndexError|NameError|AssertionError|UnboundLocalError")


@dataclass(frozen=True)
class Fuzzed:
    files: dict[str, Mutilated]
    """By video id."""
    folder: Path
    printed: str
    found: ShardSet


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Fuzzed:
    folder = tmp_path_factory.mktemp("fuzz")
    files = {Path(one.name).stem: one for one in mutilate(folder / "videos" / "wave", COUNT, SEED)}
    with redirect_stderr(StringIO()) as said:
        manifest, output = str(folder / "manifest.parquet"), str(folder / "set")
        args = ["folder", str(folder / "videos"), "--output", manifest, "--timeout-s", "20", "--max-problems", "1"]
        assert index_videos.cli([*args, "--num-workers", "2"]) == 0, said.getvalue()
        args = ["--manifest", manifest, "--output", output, "--resize", "none", "--workers", "2"]
        assert extract_frames.cli([*args, "--max-rejected", "1", "--stall-limit-s", "60"]) == 0, said.getvalue()
    return Fuzzed({f"wave/{name}": one for name, one in files.items()}, folder, said.getvalue(), ShardSet.open(output))


def test_none_is_lost_and_each_has_a_reason(fuzzed: Fuzzed) -> None:
    stored = {video.video_id: video for video in fuzzed.found.videos}
    rejected = {video.video_id: video.problem for video in fuzzed.found.rejected}
    assert stored.keys() | rejected.keys() == fuzzed.files.keys()
    assert not stored.keys() & rejected.keys()
    assert len(fuzzed.files) == COUNT
    reasons = [*rejected.values(), *(video.problem for video in stored.values() if video.truncated)]
    assert all(reason and "\n" not in reason for reason in reasons)
    assert [reason for reason in reasons if A_BUG.search(str(reason))] == []
    assert not A_BUG.search(fuzzed.printed)
    by_kind = Counter(fuzzed.files[video_id].kind for video_id in stored)
    assert len(by_kind) >= 8, "else most are refused, and this shows little"


def test_frame_counts_are_those_of_another_reader(fuzzed: Fuzzed) -> None:
    paths = [
        str(fuzzed.folder / "videos" / "wave" / fuzzed.files[video.video_id].name) for video in fuzzed.found.videos
    ]
    other = probe_videos(paths, num_workers=2, timeout_s=60, function="tests.helpers.mutilated:counted")
    expected = {video.video_id: int(facts.duration_s) for video, facts in zip(fuzzed.found.videos, other, strict=True)}
    assert {video.video_id: video.num_frames for video in fuzzed.found.videos} == expected


def test_what_lost_frames_at_its_end_is_marked(fuzzed: Fuzzed) -> None:
    short = {
        video.video_id: (video.num_frames, fuzzed.files[video.video_id].whole)
        for video in fuzzed.found.videos
        if fuzzed.files[video.video_id].kind in ("cut", "trap")
        and not video.truncated
        and video.num_frames < (fuzzed.files[video.video_id].whole or 0)
    }
    assert {name: counts for name, counts in short.items() if ".h264" not in fuzzed.files[name].name} == {}


def test_traps_are_seen_through(fuzzed: Fuzzed) -> None:
    stored = {video.video_id: video.num_frames for video in fuzzed.found.videos}
    assert {name: stored[f"wave/{name}"] for name in ("cover", "streams")} == {"cover": 40, "streams": 40}
    problems = {video.video_id: video.problem for video in fuzzed.found.rejected}
    assert "no video stream" in problems["wave/song"]
    assert "more than max_pixels" in problems["wave/giant"]
    lists = [name for name in fuzzed.files if name.startswith("wave/list-")]
    assert len(lists) >= 6
    assert all(name in problems for name in lists)


def test_the_index_and_the_extraction_agree(fuzzed: Fuzzed) -> None:
    """Whatever the index calls unusable is rejected for that; what it passes has at least a first frame."""
    rejected = {video.video_id: video.problem for video in fuzzed.found.rejected}
    for row in read_manifest(str(fuzzed.folder / "manifest.parquet")):
        if row.problem:
            assert rejected[row.video_id] == f"manifest: {row.problem}"
    assert verify.cli([str(fuzzed.folder / "set")]) == 0


def test_training_and_evaluating_on_a_flipped_shard_end_in_one_line_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    made = make_set(make_rows(tmp_path / "videos", [9] * 12), tmp_path / "rgb", FrameRecipe(resize="none"))
    (tmp_path / "small.toml").write_text(small_recipe("rgb", epochs=1))
    assert train.cli(["small.toml", "--output", "runs/whole"]) == 0
    shard = tmp_path / "rgb" / made.select("split1", "train")[0].shard
    for path in {tmp_path / "rgb" / video.shard for video in made.videos}:
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 1  # in a picture, which decodes all the same
        path.unlink()
        path.write_bytes(data)
    capfd.readouterr()
    for program, args in (
        (train, ["small.toml", "--output", "runs/damaged"]),
        (evaluate, ["runs/whole/last.pt", "--part", "val"]),
    ):
        assert program.cli(args) == 2
        said = capfd.readouterr().err
        assert not A_BUG.search(said)
        (line,) = [line for line in said.splitlines() if "cannot be read" in line]
        assert re.search(r"rgb/shard-\d+-of-\d+\.parquet: class\d/v\d+: segment 0 cannot be read", line)
    assert shard.exists()
