"""From a manifest to a finished set, in one process: what users rely on, and faults injected on purpose."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.preprocessing.extraction.guard import Attempts, Limits
from kinebert.preprocessing.extraction.task import BuildShard
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.sets.folder import claim_output, finish_set, is_finished
from kinebert.preprocessing.sets.plan import plan_shards
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.sets.writer import read_footer, summarize
from kinebert.preprocessing.tvl1 import tvl1_flow
from kinebert.preprocessing.video.frames import VideoFrames
from kinebert.preprocessing.video.images import dequantize_flow
from tests.helpers.videos import manifest_rows, moving_texture, truncate_video, write_video

RGB = FrameRecipe(resize="none")
FLOW = FlowRecipe(resize="none")
LIMITS = Limits(time_limit_s=60, stall_limit_s=60)


def stage(output: Path, recipe: FrameRecipe, **options: object) -> BuildShard:
    output.mkdir(exist_ok=True)
    return replace(BuildShard(output=str(output), recipe=recipe, limits=LIMITS, run_id="run"), **options)  # type: ignore[arg-type]


def extract(rows: list[ManifestRow], output: Path, recipe: FrameRecipe, **options: object) -> ShardSet:
    build = stage(output, recipe, **options)
    shards = claim_output(str(output), recipe, plan_shards(rows, 3))
    finish_set(str(output), recipe, rows, [build(shard) for shard in shards])
    return ShardSet.open(str(output))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[ManifestRow]:
    folder = tmp_path_factory.mktemp("videos")
    for i, (name, length) in enumerate([("a", 5), ("b", 40), ("c", 70), ("d ü (1)", 2)]):
        write_video(folder / f"class{i % 2}" / f"{name}.mp4", moving_texture(length, seed=i))
    truncate_video(write_video(folder / "class1" / "cut.mp4", moving_texture(60, seed=9)))
    (folder / "class1" / "empty.mp4").write_bytes(b"")
    return manifest_rows(folder, part=lambda i: "test" if i == 0 else "train")


@pytest.fixture(scope="module")
def rgb(rows: list[ManifestRow], tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    return extract(rows, tmp_path_factory.mktemp("sets") / "rgb", RGB)


@pytest.fixture(scope="module")
def flow(rows: list[ManifestRow], tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    return extract(rows, tmp_path_factory.mktemp("sets") / "flow", FLOW)


def grey(frames_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in frames_bgr])


def test_frames_read_back_as_they_were_decoded(rows: list[ManifestRow], rgb: ShardSet) -> None:
    for row in rows:
        if row.video_id == "class1/empty":
            continue
        decoded = list(VideoFrames(row.path, RGB))
        entry = rgb.entry(row.video_id)
        assert entry.num_frames == entry.num_images == len(decoded)
        read = np.ascontiguousarray(rgb.read_clip(entry, range(len(decoded)))[..., ::-1])
        difference = np.abs(grey(read).astype(int) - grey(np.stack(decoded)))
        assert difference.mean() < 2  # JPEG at quality 95; the neighbouring frame would differ by more than 5


def test_clips_may_repeat_wrap_and_go_back(rgb: ShardSet) -> None:
    entry = rgb.entry("class0/c")
    everything = rgb.read_clip(entry, range(entry.num_images))
    indices = [69, 0, 31, 32, 32, 5, 69]
    assert np.array_equal(rgb.read_clip(entry, indices), everything[indices])
    with pytest.raises(IndexError, match="image 70 of 70"):
        rgb.read_clip(entry, [70])


def test_flow_is_what_the_solver_says_of_the_decoded_frames(rows: list[ManifestRow], flow: ShardSet) -> None:
    row = next(row for row in rows if row.video_id == "class1/b")
    expected = tvl1_flow(grey(np.stack(list(VideoFrames(row.path, FLOW))))).transpose(0, 2, 3, 1)
    entry = flow.entry(row.video_id)
    assert (entry.num_frames, entry.num_images) == (40, 39)
    read = dequantize_flow(flow.read_clip(entry, range(39)), FLOW.bound)
    assert np.abs(read - expected).mean() < 0.1  # half a level is 0.04 px, JPEG adds the rest; measured 0.05
    assert abs(read[..., 0].mean() - 1) < 0.1  # the texture moves right by 1 px per frame
    assert abs(read[..., 1].mean()) < 0.1


def test_rgb_and_flow_agree_on_every_frame_count(rgb: ShardSet, flow: ShardSet) -> None:
    assert [(v.video_id, v.num_frames) for v in rgb.videos] == [(v.video_id, v.num_frames) for v in flow.videos]
    assert all(v.num_images == v.num_frames - 1 for v in flow.videos)
    assert [v.video_id for v in rgb.rejected] == [v.video_id for v in flow.rejected] == ["class1/empty"]


def test_damage_is_marked_or_refused(rows: list[ManifestRow], tmp_path: Path) -> None:
    kept = extract(rows, tmp_path / "keep", RGB)
    entry = kept.entry("class1/cut")
    assert entry.truncated
    assert "InvalidDataError" in str(entry.problem)
    assert 0 < entry.num_frames < 60
    assert kept.rejected[0].problem.startswith("decode: 0 frames, at least 2 are needed; InvalidDataError")
    strict = extract(rows, tmp_path / "reject", replace(RGB, on_decode_error="reject"))
    assert [v.video_id for v in strict.rejected] == ["class1/cut", "class1/empty"]
    assert strict.rejected[0].problem.startswith(f"decode: broke off after {entry.num_frames} frames; InvalidDataError")
    short = extract(rows, tmp_path / "short", replace(RGB, min_frames=6))
    assert "class0/a: 5" not in str(short.rejected)
    assert {v.video_id for v in short.rejected} == {"class0/a", "class1/d ü (1)", "class1/empty"}


def test_a_problem_in_the_manifest_is_a_rejection(rows: list[ManifestRow], tmp_path: Path) -> None:
    rows = [replace(row, problem="missing file") if row.video_id == "class1/b" else row for row in rows]
    found = extract(rows, tmp_path / "rgb", RGB)
    assert ("class1/b", "manifest: missing file") in {(v.video_id, v.problem) for v in found.rejected}
    with pytest.raises(UserError, match="class1/b was left out: manifest: missing file"):
        found.entry("class1/b")


def test_one_row_group_is_one_segment_with_its_recipe_in_the_footer(flow: ShardSet) -> None:
    entry = flow.entry("class0/c")
    path = Path(flow.uri) / entry.shard
    file = pq.ParquetFile(path)
    assert entry.num_row_groups == 3
    assert all(file.metadata.row_group(i).num_rows == 1 for i in range(file.num_row_groups))
    rows_of_video = [file.read_row_group(entry.first_row_group + i).to_pylist()[0] for i in range(3)]
    assert [(row["video_id"], row["segment"], row["start"], row["num_images"]) for row in rows_of_video] == [
        ("class0/c", 0, 0, 32),
        ("class0/c", 1, 32, 32),
        ("class0/c", 2, 64, 5),
    ]
    footer = read_footer(str(path))
    assert footer["kinebert.digest"] == FLOW.digest()
    assert '"bound": 20.0' in footer["kinebert.recipe"]


def test_the_same_plan_gives_the_same_bytes_and_finished_shards_are_kept(
    rows: list[ManifestRow], rgb: ShardSet, tmp_path: Path
) -> None:
    shards = plan_shards(rows, 3)
    build = stage(tmp_path / "two", RGB)
    for shard in reversed(shards):
        build(shard)
    for shard in shards:
        one, two = Path(rgb.uri) / shard.name, tmp_path / "two" / shard.name
        assert one.read_bytes() == two.read_bytes()
        before = two.stat().st_mtime_ns
        assert build(shard) == summarize(str(two))
        assert two.stat().st_mtime_ns == before


def test_a_folder_belongs_to_one_recipe_and_one_list(rows: list[ManifestRow], tmp_path: Path) -> None:
    output = str(tmp_path)
    shards = plan_shards(rows, 3)
    claim_output(output, replace(FLOW, bound=10.0), shards)  # nothing was made from it: it binds nobody
    claim_output(output, FLOW, shards)
    (tmp_path / shards[0].name).touch()
    assert claim_output(output, FLOW, plan_shards(rows, 2)) == shards
    with pytest.raises(ConfigError, match=r"another recipe .*bound: 15.0 != 20.0"):
        claim_output(output, replace(FLOW, bound=15.0), shards)
    with pytest.raises(ConfigError, match=r"another list of videos .6 there, 5 here; only in one: class0/a"):
        claim_output(output, FLOW, plan_shards(rows[1:], 3))
    with pytest.raises(UserError, match="an unfinished set"):
        ShardSet.open(output)


def test_new_labels_need_no_new_pixels(rows: list[ManifestRow], tmp_path: Path) -> None:
    output = tmp_path / "rgb"
    extract(rows, output, RGB)
    shards = plan_shards(rows, 3)
    renamed = [replace(row, splits={"other": "val"}) for row in rows]
    assert is_finished(str(output), rows, shards)
    assert not is_finished(str(output), renamed, shards)
    before = {path.name: path.stat().st_mtime_ns for path in output.glob("shard-*")}
    found = extract(renamed, output, RGB)
    assert len(found.select("other", "val")) == 5
    assert before == {path.name: path.stat().st_mtime_ns for path in output.glob("shard-*")}
    (output / next(iter(before))).unlink()
    assert not is_finished(str(output), renamed, shards)


def test_a_file_that_was_replaced_changes_its_shard_and_no_other(rows: list[ManifestRow], tmp_path: Path) -> None:
    output = tmp_path / "rgb"
    broken = [replace(row, bytes=1, problem="0 bytes") if row.video_id == "class1/b" else row for row in rows]
    found = extract(broken, output, RGB)
    assert "class1/b" in {video.video_id for video in found.rejected}
    before = {path.name: path.stat().st_mtime_ns for path in output.glob("shard-*")}
    assert not is_finished(str(output), rows, claim_output(str(output), RGB, plan_shards(rows, 3)))
    mended = extract(rows, output, RGB)
    after = {path.name: path.stat().st_mtime_ns for path in output.glob("shard-*")}
    assert mended.entry("class1/b").num_frames == 40
    assert [name for name in before if before[name] != after[name]] == [mended.entry("class1/b").shard]


def test_splits_are_selected_or_named(rgb: ShardSet) -> None:
    assert [v.video_id for v in rgb.select("split1", "test")] == ["class0/a"]
    with pytest.raises(ConfigError, match="no split 'split2'. There are: split1"):
        rgb.select("split2", "test")
    with pytest.raises(ConfigError, match="has no 'val' videos. It has: test, train"):
        rgb.select("split1", "val")


class Slow(VideoFrames):
    """Gives an image every tenth of a second."""

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for frame in super().__iter__():
            if self.path.endswith("b.mp4"):
                time.sleep(0.1)
            yield frame


def test_a_video_that_takes_too_long_is_left_out_and_no_other(rows: list[ManifestRow], tmp_path: Path) -> None:
    limits = Limits(time_limit_s=0.5, stall_limit_s=60)
    found = extract(rows, tmp_path / "rgb", RGB, open_video=Slow, limits=limits)
    assert {(v.video_id, v.problem.split(";")[0]) for v in found.rejected} == {
        ("class1/b", "time: not done after 0.5 s (time_limit_s)"),
        ("class1/empty", "decode: 0 frames, at least 2 are needed"),
    }


class Hanging(VideoFrames):
    """Hangs, as if inside a C library, at one video."""

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        if self.path.endswith("b.mp4"):
            time.sleep(3600)
        yield from super().__iter__()


class Crashing(VideoFrames):
    """Kills its process at one video."""

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        if self.path.endswith("b.mp4"):
            os.kill(os.getpid(), signal.SIGKILL)
        yield from super().__iter__()


def build_in_a_process_that_may_die(build: BuildShard, rows: list[ManifestRow]) -> int:
    """Build the one shard in a process, starting again after each death as a cluster would; count the deaths."""
    (shard,) = plan_shards(rows, len(rows))
    for deaths in range(10):
        process = multiprocessing.get_context("spawn").Process(target=build, args=(shard,))
        process.start()
        process.join()
        if process.exitcode == 0:
            return deaths
    raise AssertionError("it would go on for ever")


@pytest.mark.parametrize(
    ("open_video", "deaths", "problem"),
    [
        (Hanging, 1, "time: no image came for 3 s (stall_limit_s)"),
        (Crashing, 3, "crash: its worker process died 3 times at this video"),
    ],
)
def test_a_video_that_kills_its_worker_is_given_up_and_the_others_are_made(
    rows: list[ManifestRow], tmp_path: Path, open_video: type[VideoFrames], deaths: int, problem: str
) -> None:
    limits = Limits(time_limit_s=60, stall_limit_s=3)
    build = stage(tmp_path / "rgb", RGB, open_video=open_video, limits=limits)
    assert build_in_a_process_that_may_die(build, rows) == deaths
    (path,) = (tmp_path / "rgb").glob("shard-*")
    videos = {video.video_id: video for video in summarize(str(path)).videos}
    assert videos["class1/b"].problem == problem
    assert [v for v in videos if videos[v].rejected] == ["class1/b", "class1/empty"]


def test_deaths_of_another_run_do_not_count(tmp_path: Path) -> None:
    first = Attempts(str(tmp_path), "first")
    unfinished = [first.attempt("v") for _ in range(3)]  # held, as by a process that died
    for attempt in unfinished:
        attempt.__enter__()
    assert Attempts(str(tmp_path), "first").given_up("v") == "crash: its worker process died 3 times at this video"
    assert Attempts(str(tmp_path), "second").given_up("v") is None
    with Attempts(str(tmp_path), "second").attempt("v"):
        assert Attempts(str(tmp_path), "second").suspects("v")
    assert not Attempts(str(tmp_path), "second").suspects("v")


def test_no_space_leaves_no_shard_and_no_rubbish(
    rows: list[ManifestRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    build = stage(tmp_path / "rgb", RGB)
    (tmp_path / "rgb" / ".attempts" / "run").mkdir(parents=True)
    monkeypatch.setattr(Attempts, "attempt", lambda self, _: _nothing())
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="no space is left on the device. Free some"):
        build(plan_shards(rows, 9)[0])
    assert [path.name for path in (tmp_path / "rgb").iterdir()] == [".attempts"]


class _nothing:  # noqa: N801
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


def test_rejected_videos_can_be_tried_again(rows: list[ManifestRow], tmp_path: Path) -> None:
    output = tmp_path / "rgb"
    extract(rows, output, RGB, open_video=Slow, limits=Limits(time_limit_s=0.5))
    assert len(extract(rows, output, RGB).rejected) == 2
    assert len(extract(rows, output, RGB, retry_rejected=True).rejected) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FrameRecipe(width=8), r"width must be at least 16 \(pixels\), got 8"),
        (lambda: FrameRecipe(frame_step=0), "frame_step must be at least 1, got 0"),
        (lambda: FlowRecipe(bound=0), "bound must be positive"),
        (lambda: FlowRecipe(min_frames=1), "min_frames must be at least 2"),
        (lambda: Limits(time_limit_s=0), "time_limit_s must be positive"),
    ],
)
def test_recipes_are_checked(make: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()  # type: ignore[operator]


def test_the_digest_ignores_what_touches_no_pixel() -> None:
    assert FrameRecipe(short_side=100).digest() == FrameRecipe().digest()
    assert FrameRecipe(width=100).digest() != FrameRecipe().digest()
    assert FlowRecipe().digest() != FrameRecipe().digest()
