"""How extraction uses a flow solver: the batches change nothing, the clock is kept, and it is recorded who solved."""

import json
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.extraction import flow_solver
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.guard import Limits
from kinebert.preprocessing.extraction.one_video import extract_video
from kinebert.preprocessing.extraction.task import BuildShard
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe, describe_tvl1, preset_of
from kinebert.preprocessing.sets.folder import claim_output, describe_flow, finish_set
from kinebert.preprocessing.sets.plan import PlannedVideo, plan_shards
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.sets.writer import read_footer
from kinebert.preprocessing.tvl1 import PRESETS, TvL1Params
from kinebert.preprocessing.tvl1.solve import tvl1_flow
from kinebert.preprocessing.video.frames import VideoFrames
from kinebert.preprocessing.video.images import encode_jpeg, quantize_flow
from tests.helpers.sets import make_rows

FLOW = FlowRecipe(resize="none", tvl1=TvL1Params(warps=1, nscales=2))
OPENCV = FlowSolver(backend="opencv")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[ManifestRow]:
    return make_rows(tmp_path_factory.mktemp("videos"), [2, 9, 20, 5])


def stage(output: Path, solver: FlowSolver = OPENCV, **options: object) -> BuildShard:
    output.mkdir(exist_ok=True)
    build = BuildShard(output=str(output), recipe=FLOW, limits=Limits(), run_id="run", solver=solver)
    return replace(build, **options)  # type: ignore[arg-type]


def images_of(row: ManifestRow, solver: FlowSolver) -> list[tuple[bytes, bytes]]:
    video = PlannedVideo(row.video_id, row.path, row.bytes, None)
    _, spool = extract_video(video, FLOW, VideoFrames, lambda: None, solver)
    rows = [row.to_pylist()[0] for row in spool.rows()]
    return [pair for row in rows for pair in zip(row["flow_x"], row["flow_y"], strict=True)]


@pytest.mark.parametrize("pairs", [1, 2, 3, 8, 19, 64])
def test_the_size_of_the_batches_changes_nothing(
    rows: list[ManifestRow], pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last batch is smaller, may be a single pair, and may not be at all."""
    given = []
    solve = FlowSolver.solve

    def watched(self: FlowSolver, grey_THW: NDArray[np.uint8], params: TvL1Params) -> NDArray[np.float32]:
        given.append(len(grey_THW) - 1)
        return solve(self, grey_THW, params)

    monkeypatch.setattr(FlowSolver, "pairs_at_once", lambda *_: pairs)
    monkeypatch.setattr(FlowSolver, "solve", watched)
    for row, length in zip(rows, (2, 20, 9, 5), strict=True):
        grey = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in VideoFrames(row.path, FLOW)]
        assert len(grey) == length
        fields = solve(OPENCV, np.stack(grey), FLOW.tvl1)
        given.clear()
        codes = [quantize_flow(field, FLOW.bound) for field in fields]
        assert images_of(row, OPENCV) == [(encode_jpeg(x, 95), encode_jpeg(y, 95)) for x, y in codes]
        rest = (length - 1) % pairs
        assert given == [pairs] * ((length - 1) // pairs) + ([rest] if rest else [])


def test_a_slow_solver_is_ended_between_two_batches(rows: list[ManifestRow], tmp_path: Path) -> None:
    limits = Limits(time_limit_s=0.9, stall_limit_s=60)

    class Slow(FlowSolver):
        def ready(self, params: TvL1Params) -> FlowSolver:
            return self

        def pairs_at_once(self, height: int, width: int) -> int:
            return 4

        def solve(self, grey_THW: NDArray[np.uint8], params: TvL1Params) -> NDArray[np.float32]:
            time.sleep(0.25)
            return np.zeros((len(grey_THW) - 1, 2, *grey_THW.shape[1:]), np.float32)

    build = stage(tmp_path / "set", Slow(backend="opencv"), limits=limits)
    began = time.monotonic()
    found = {video.video_id: video for shard in plan_shards(rows, 9) for video in build(shard).videos}
    assert time.monotonic() - began < 5
    assert {v.video_id: v.problem for v in found.values() if v.rejected} == {
        "class0/v02": "time: not done after 0.9 s (time_limit_s)"
    }


def test_a_solver_that_refuses_one_video_does_not_end_the_others(
    rows: list[ManifestRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    solve = tvl1_flow

    def picky(grey_THW: NDArray[np.uint8], *args: object, **options: object) -> NDArray[np.float32]:
        if grey_THW[0].tobytes() == first:
            raise ValueError("not to my taste")
        return solve(grey_THW, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(flow_solver, "tvl1_flow", picky)
    first = cv2.cvtColor(next(iter(VideoFrames(rows[1].path, FLOW))), cv2.COLOR_BGR2GRAY).tobytes()
    (shard,) = plan_shards(rows, 9)
    rejected = {v.video_id: v.problem for v in stage(tmp_path / "set")(shard).videos if v.rejected}
    assert rejected == {rows[1].video_id: "flow: ValueError: not to my taste"}


def test_parameters_that_a_solver_lacks_are_the_users_matter(rows: list[ManifestRow], tmp_path: Path) -> None:
    recipe = replace(FLOW, tvl1=replace(FLOW.tvl1, level_epsilon=(0.02,)))
    build = stage(tmp_path / "set", recipe=recipe)
    with pytest.raises(ConfigError, match="no level_epsilon. Use the backend numba or torch"):
        build(plan_shards(rows, 9)[0])
    assert not list((tmp_path / "set").glob("shard-*"))


def test_it_is_recorded_who_solved_what(
    rows: list[ManifestRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second half of the job ran with another version: kept shards stay, and both are named."""
    output = tmp_path / "set"
    output.mkdir()
    shards = claim_output(str(output), FLOW, plan_shards(rows, 2))
    first = stage(output)(shards[0])
    assert read_footer(str(output / shards[0].name))["kinebert.solver"] == f"opencv {cv2.__version__}" == first.solver
    monkeypatch.setattr("cv2.__version__", "9.9")
    summaries = [stage(output)(shard) for shard in shards]
    assert summaries[0] == first
    dataset = finish_set(str(output), FLOW, rows, summaries)
    assert dataset.flow is not None
    fields = [sum(video.num_images for video in summary.videos) for summary in summaries]
    mine, other = sorted(dataset.flow.solvers)
    assert dataset.flow.solvers == {mine: fields[0], other: fields[1]}
    assert (dataset.flow.preset, sum(fields), other) == (None, 32, "opencv 9.9")
    assert (
        describe_flow(dataset.flow)
        == f"TV-L1, own parameters, solved by {mine} ({fields[0]} fields), {other} ({fields[1]} fields)"
    )
    assert ShardSet.open(str(output)).solvers == dataset.flow.solvers


def test_frames_have_no_solver(rows: list[ManifestRow], tmp_path: Path) -> None:
    recipe = FrameRecipe(resize="none")
    (shard,) = claim_output(str(tmp_path), recipe, plan_shards(rows, 9))
    summary = stage(tmp_path, recipe=recipe)(shard)
    assert summary.solver is None
    assert "kinebert.solver" not in read_footer(str(tmp_path / shard.name))
    assert "flow" not in finish_set(str(tmp_path), recipe, rows, [summary]).plain()
    assert describe_flow(ShardSet.open(str(tmp_path)).dataset.flow) is None


def test_a_set_of_a_preset_bears_its_name(rows: list[ManifestRow], tmp_path: Path) -> None:
    recipe = replace(FLOW, tvl1=TvL1Params())
    (shard,) = claim_output(str(tmp_path), recipe, plan_shards(rows, 9))
    plain = finish_set(str(tmp_path), recipe, rows, [stage(tmp_path, recipe=recipe)(shard)]).plain()
    assert json.loads((tmp_path / "dataset.json").read_text()) == plain
    assert plain["flow"]["preset"] == "classic"
    assert plain["recipe"]["tvl1"]["warps"] == 5  # the digest sees parameters, not names


def test_parameters_are_described_by_the_nearest_preset() -> None:
    for name, params in PRESETS.items():
        assert preset_of(params) == describe_tvl1(params) == name
    odd = replace(PRESETS["wide"], warps=4, epsilon=0.03)
    assert preset_of(odd) is None
    assert describe_tvl1(odd) == "wide but epsilon = 0.03, warps = 4"


def test_a_task_says_where_its_time_went_and_the_bytes_do_not_know(rows: list[ManifestRow], tmp_path: Path) -> None:
    (shard,) = plan_shards(rows, 9)
    timed, plain = stage(tmp_path / "timed", timed=True)(shard), stage(tmp_path / "plain")(shard)
    assert plain.timing is None
    assert replace(timed, timing=None) == plain
    assert timed.timing is not None
    stages = timed.timing.stages
    assert set(stages) == {"prepare", "decode", "grey", "solve", "quantise", "encode", "write"}
    busy_s = timed.timing.end - timed.timing.start
    assert 0 < stages["decode"].cpu_s + stages["solve"].wall_s < 2 * busy_s
    assert stage(tmp_path / "timed", timed=True)(shard).timing is None  # it was there already
    resized = stage(tmp_path / "resized", timed=True, recipe=replace(FLOW, resize="fixed", width=40, height=40))(shard)
    assert resized.timing is not None
    assert "resize" in resized.timing.stages
