"""How long flow will take: numbers by hand, and measured on a cluster, at videos that behave and that do not."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from kinebert.orchestration.cluster import Node
from kinebert.orchestration.extraction import flow_forecast
from kinebert.orchestration.extraction.flow_forecast import expected, quicker, say_who_solves
from kinebert.orchestration.extraction.placement import Tasks, place
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.guard import Limits
from kinebert.preprocessing.extraction.measuring import PairCost
from kinebert.preprocessing.extraction.task import BuildShard
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.sets.plan import plan_shards
from kinebert.preprocessing.tvl1 import PRESETS
from tests.helpers import faults
from tests.helpers.listening import Heard
from tests.helpers.sets import make_rows

FLOW = FlowRecipe()
ray: Any = vars(flow_forecast)["ray"]  # not imported here: what Ray reads at its import must be set before
ray.cloudpickle.register_pickle_by_value(faults)


def told(rows: Sequence[ManifestRow], *recipes: FrameRecipe, kept: Sequence[str] = (), **options: Any) -> list[str]:
    heard = Heard()
    builds = [
        replace(BuildShard(output=f"/sets/{i}", recipe=recipe, limits=Limits(), run_id=""), **options)
        for i, recipe in enumerate(recipes)
    ]
    placement = place(FlowSolver(backend="numba"), [Node(2.0, 0.0)], cpus_per_task=1.0)
    say_who_solves(rows, plan_shards(rows, 1), kept, builds, placement, Tasks(), heard)
    return heard.said


def test_what_is_said_by_hand() -> None:
    """Of 36,000 pairs, four at a time."""
    costs = [PairCost(pairs=48, seconds=2.4), PairCost(pairs=24, seconds=0.6), PairCost(pairs=24, seconds=0.24)]
    assert expected(costs, quicker(FLOW), 36000.4, slots=4) == [
        "flow of about 36000 pairs will take about 7 min 30 s: 80 a second in 4 tasks, by 48 that were measured",
        "it would take less with other flow: --preset fast about 3 min 45 s (0.04 px from classic), "
        "--width 171 --height 128 about 1 min 30 s (for networks that see 112 pixels)",
    ]
    slower = [PairCost(pairs=4, seconds=8.0), PairCost(pairs=0, seconds=0.0), PairCost(pairs=4, seconds=9.0)]
    assert expected(slower, quicker(FLOW), 100, slots=1) == [
        "flow of about 100 pairs will take about 3 min 20 s: 0.5 a second in 1 task, by 4 that were measured"
    ]


def test_what_would_be_quicker_is_what_was_not_asked_for() -> None:
    fast, small = quicker(FLOW, "--of-flow.")
    assert (fast.recipe, small.recipe) == (
        replace(FLOW, tvl1=PRESETS["fast"]),
        replace(FLOW, width=171, height=128),
    )
    assert small.options == "--of-flow.width 171 --of-flow.height 128"
    assert quicker(replace(FLOW, tvl1=PRESETS["fast"], width=171, height=128)) == []
    (halved,) = quicker(replace(FLOW, tvl1=PRESETS["wide"], width=640, height=480))
    assert (halved.recipe.width, halved.recipe.height) == (320, 240)
    assert [other.options for other in quicker(replace(FLOW, resize="none"))] == ["--preset fast"]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[ManifestRow]:
    return make_rows(tmp_path_factory.mktemp("videos"), [9, 12, 5, 7])


def test_a_job_of_seconds_is_not_measured_and_frames_have_no_solver(ray_cluster: Any, rows: list[ManifestRow]) -> None:
    assert told(rows, FLOW) == ["solver: numba on CPUs"]
    assert told(rows, FrameRecipe()) == []


def test_a_long_one_is_measured_by_its_own_videos(
    ray_cluster: Any, rows: list[ManifestRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_forecast, "LEAST_S", 0.0)
    monkeypatch.setitem(flow_forecast._AT_BEST, "numba", 1e-3)
    small = replace(FLOW, resize="none")
    _, measuring, line, *less = told([replace(row, fps=25.0, duration_s=40.0) for row in rows], small)
    assert measuring == "measuring a few pairs, to say how long it will take"
    assert re.fullmatch(
        r"flow of about 3996 pairs will take about [\d hmins]+: [\d.]+ a second in \d tasks?, by \d+ that were .*",
        line,
    )
    assert all("--preset fast about" in said for said in less), "so few pairs may come out either way"
    begun = told(rows, small, FrameRecipe(), kept=[rows[0].video_id])
    assert len(begun) == 3, "a set that was begun keeps its recipe"
    assert told(rows, small, kept=[row.video_id for row in rows]) == ["solver: numba on CPUs"]


@pytest.mark.parametrize("harm", [faults.Segfaulting, faults.Hanging])
def test_videos_at_which_a_decoder_breaks_end_no_job_before_it_began(
    harm: Any, ray_cluster: Any, rows: list[ManifestRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_forecast, "LEAST_S", 0.0)
    monkeypatch.setattr(flow_forecast, "_WAIT_S", 3.0)
    (one,) = [row for row in rows if row.path.endswith("v01.mp4")]
    said = told([one], replace(FLOW, resize="none"), open_video=harm)
    assert said == ["solver: numba on CPUs", "measuring a few pairs, to say how long it will take"]
