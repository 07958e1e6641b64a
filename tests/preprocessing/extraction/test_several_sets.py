"""Frames and flow of one decoding: the bytes that each program alone makes, whatever is there or goes wrong."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.guard import Attempts, Limits
from kinebert.preprocessing.extraction.task import BuildShard, BuildShards
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.sets.plan import PlannedShard, plan_shards
from kinebert.preprocessing.sets.writer import VideoSummary, summarize
from kinebert.preprocessing.tvl1 import TvL1Params
from kinebert.preprocessing.video.frames import VideoFrames
from kinebert.preprocessing.video.intervals import Interval
from tests.helpers.sets import make_rows

RGB = FrameRecipe(resize="none")
FLOW = FlowRecipe(resize="none", tvl1=TvL1Params(warps=1, nscales=1, outer_iterations=1))


class Broken(VideoFrames):
    """One file breaks off."""

    def __iter__(self) -> Iterator[Any]:
        for number, frame in enumerate(super().__iter__()):
            if number == 5 and self.path.endswith("v01.mp4"):
                self.problem = "it broke"
                return
            yield frame


class Counted(Broken):
    """Notes how often each file is decoded."""

    decoded: Counter[str] = Counter()  # noqa: RUF012 - shared on purpose

    def __iter__(self) -> Iterator[Any]:
        self.decoded[Path(self.path).stem] += 1
        yield from super().__iter__()


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[ManifestRow]:
    """Whole videos, one that breaks off, one that cannot be read, one of a single frame, and segments of another."""
    folder = tmp_path_factory.mktemp("several")
    made = {Path(row.path).stem: row for row in make_rows(folder, [40, 9, 34, 7, 30, 1])}
    Path(made["v03"].path).write_bytes(b"nothing")
    known = {name: replace(row, bytes=Path(row.path).stat().st_size, fingerprint=None) for name, row in made.items()}
    film = known.pop("v04")
    cut = [replace(film, video_id=f"cut{i}", interval=Interval(i, i + 12, "frames")) for i in (0, 5, 16, 29)]
    return [*known.values(), *cut]


@pytest.fixture(scope="module")
def shard(rows: list[ManifestRow]) -> PlannedShard:
    (planned,) = plan_shards(rows, 99)
    return planned


def builds(folder: Path, **options: Any) -> tuple[BuildShard, BuildShard]:
    """What fills the sets ``rgb`` and ``flow`` of a folder."""
    for name in ("rgb", "flow"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    given = {"limits": Limits(), "run_id": "job", "open_video": Broken, **options}
    given.setdefault("solver", FlowSolver(backend="numba"))
    rgb, flow = given.pop("rgb", RGB), given.pop("flow", FLOW)
    return (
        BuildShard(output=str(folder / "rgb"), recipe=rgb, **given),
        BuildShard(output=str(folder / "flow"), recipe=flow, **given),
    )


def shards(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in sorted(folder.glob("*/shard-*"))}


SIZES: dict[str, dict[str, Any]] = {
    "as coded": {},
    "one size": {"rgb": replace(RGB, resize="fixed", width=48), "flow": replace(FLOW, resize="fixed", width=48)},
    "two sizes": {
        "rgb": replace(RGB, resize="short_side", short_side=40, interpolation="area"),
        "flow": replace(FLOW, resize="fixed", width=32, height=32, frame_step=2),
    },
    "video": {"rgb": replace(RGB, codec="h264")},
    "nothing that broke": {"rgb": replace(RGB, on_decode_error="reject"), "flow": replace(FLOW, min_frames=9)},
}


@pytest.mark.parametrize("name", SIZES)
def test_both_sets_have_the_bytes_of_the_two_programs(name: str, shard: PlannedShard, tmp_path: Path) -> None:
    given = SIZES[name]
    if "frame_step" in str(given):
        step = given.get("flow", FLOW).frame_step
        given = {**given, "rgb": replace(given.get("rgb", RGB), frame_step=step)}
    apart = tuple(build(shard) for build in builds(tmp_path / "apart", **given))
    told: list[VideoSummary] = []
    together = BuildShards(builds(tmp_path / "together", **given))(shard, told.append)
    assert together == apart
    assert shards(tmp_path / "together") == shards(tmp_path / "apart")
    assert {path.name for path in (tmp_path / "together").glob("*/*")} == {shard.name, ".digests", ".attempts"} & {
        path.name for path in (tmp_path / "apart").glob("*/*")
    }
    assert [video.video_id for video in told] == [video.video_id for video in shard.videos]
    for frames, flow in zip(together[0].videos, together[1].videos, strict=True):
        if not frames.rejected and not flow.rejected:
            assert (flow.num_frames, flow.num_images) == (frames.num_frames, frames.num_frames - 1)


def test_every_file_is_decoded_once(shard: PlannedShard, tmp_path: Path) -> None:
    Counted.decoded.clear()
    BuildShards(builds(tmp_path, open_video=Counted))(shard)
    assert set(Counted.decoded.values()) == {1}
    assert len(Counted.decoded) == len({video.path for video in shard.videos})


def test_what_is_wrong_with_a_file_stands_in_both_sets(shard: PlannedShard, tmp_path: Path) -> None:
    frames, flow = BuildShards(builds(tmp_path))(shard)
    said = {video.video_id: video.problem for video in frames.videos if video.rejected}
    assert said == {video.video_id: video.problem for video in flow.videos if video.rejected}
    assert {problem.split(":")[0] for problem in said.values() if problem} == {"decode"}
    assert len(said) == 3  # not a video, one frame, a segment of one frame
    truncated = [[video.video_id for video in made.videos if video.truncated] for made in (frames, flow)]
    assert truncated[0] == truncated[1] != []


@pytest.mark.parametrize("there", [0, 1])
def test_only_the_set_that_lacks_its_shard_is_written(there: int, shard: PlannedShard, tmp_path: Path) -> None:
    both = builds(tmp_path, open_video=Counted)
    kept = both[there](shard)
    path = Path(both[there].output) / shard.name
    before = path.stat().st_mtime_ns
    Counted.decoded.clear()
    made = BuildShards(both)(shard)
    assert made[there] == kept
    assert path.stat().st_mtime_ns == before
    assert set(Counted.decoded.values()) == {1}
    assert made[1 - there] == builds(tmp_path / "apart")[1 - there](shard)
    Counted.decoded.clear()
    told: list[VideoSummary] = []
    assert BuildShards(both)(shard, told.append) == made
    assert len(told) == len(shard.videos)
    assert not Counted.decoded


def test_a_set_whose_shard_has_changed_is_made_again_and_the_other_kept(shard: PlannedShard, tmp_path: Path) -> None:
    both = builds(tmp_path)
    frames, flow = BuildShards(both)(shard)
    data = bytearray((tmp_path / "flow" / shard.name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "flow" / shard.name).write_bytes(data)
    assert BuildShards(both)(shard) == (frames, replace(flow, was_damaged=True))
    assert summarize(str(tmp_path / "flow" / shard.name)).sha256 == flow.sha256


class Weak(FlowSolver):
    """Refuses the frames of one video."""

    def solve(self, grey_THW: Any, params: TvL1Params) -> Any:
        if len(grey_THW) == 34:
            raise ValueError("too hard")
        return super().solve(grey_THW, params)

    def ready(self, params: TvL1Params) -> FlowSolver:
        return Weak(backend="numba", num_threads=8)


def test_a_video_whose_flow_fails_keeps_its_frames_as_it_does_alone(shard: PlannedShard, tmp_path: Path) -> None:
    apart = tuple(build(shard) for build in builds(tmp_path / "apart", solver=Weak()))
    together = BuildShards(builds(tmp_path / "together", solver=Weak()))(shard)
    assert together == apart
    assert "flow: ValueError: too hard" in {video.problem for video in together[1].videos}
    assert sum(video.rejected for video in together[1].videos) == sum(v.rejected for v in together[0].videos) + 1


class Failing(VideoFrames):
    """Breaks in a way that says something of the video, of the user's matters, or of a bug."""

    error: Exception = ValueError("a picture too large")

    def __iter__(self) -> Iterator[Any]:
        yield from (frame for frame, _ in zip(super().__iter__(), range(3), strict=False))
        raise self.error


@pytest.mark.parametrize("error", [ValueError("too large"), MemoryError("too large"), OSError(5, "too large")])
def test_what_breaks_while_decoding_is_of_the_video(
    error: Exception, rows: list[ManifestRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Failing, "error", error)
    (one,) = plan_shards([rows[0]])
    apart = tuple(build(one) for build in builds(tmp_path / "apart", open_video=Failing))
    together = BuildShards(builds(tmp_path / "together", open_video=Failing))(one)
    assert together == apart
    assert all(made.videos[0].rejected and "too large" in str(made.videos[0].problem) for made in together)


@pytest.mark.parametrize("error", [UserError("act, please"), KeyError("bug")])
def test_what_is_not_of_the_video_ends_the_task_and_leaves_no_shard(
    error: Exception, shard: PlannedShard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Failing, "error", error)
    with pytest.raises(type(error)):
        BuildShards(builds(tmp_path, open_video=Failing))(shard)
    assert shards(tmp_path) == {}
    assert list(tmp_path.glob("*/.*.partial")) == []


def test_a_video_that_was_given_up_is_so_in_both(shard: PlannedShard, tmp_path: Path) -> None:
    both = builds(tmp_path)
    (tmp_path / "rgb" / ".attempts" / "job").mkdir(parents=True)
    suspect = next(video for video in shard.videos if video.interval is None and not video.problem)
    Attempts(both[0].output, "job").condemn(suspect.video_id, "time: it hung")
    made = BuildShards(both)(shard)
    for summary in made:
        (found,) = [video for video in summary.videos if video.video_id == suspect.video_id]
        assert (found.rejected, found.problem) == (True, "time: it hung")


def test_time_limits_hold_for_both(rows: list[ManifestRow], tmp_path: Path) -> None:
    limits = Limits(time_limit_s=1e-6)
    (one,) = plan_shards([rows[0]])
    for summary in BuildShards(builds(tmp_path, limits=limits))(one):
        assert summary.videos[0].problem == "time: not done after 1e-06 s (time_limit_s)"


def test_equal_sizes_are_made_once_and_others_each(rows: list[ManifestRow]) -> None:
    small = FrameRecipe(width=32, height=32)
    beside = [small, FrameRecipe(resize="none"), replace(small, interpolation="area")]
    frames = VideoFrames(rows[0].path, small, beside=beside)
    count = 0
    for first, same, whole, other in frames:
        assert same is first
        assert whole.shape == (48, 64, 3)
        assert other.shape == first.shape
        assert not np.array_equal(other, first)
        count += 1
    assert count == 40
