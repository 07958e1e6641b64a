"""What flow of a few pairs costs, measured on videos that are there, are damaged, or are not what they should be."""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.measuring import PairCost, measure_pairs
from kinebert.preprocessing.recipe import FlowRecipe
from kinebert.preprocessing.sets.plan import PlannedVideo, plan_shards
from kinebert.preprocessing.tvl1 import PRESETS, TvL1Params
from kinebert.preprocessing.video.frames import VideoFrames
from tests.helpers.sets import make_rows

FLOW = FlowRecipe(resize="none")
OPEN = partial(VideoFrames, max_pixels=10**6)


class Timed(FlowSolver):
    """Takes its time with every pair, a third of it with fast ones, and knows no others."""

    PAIR_S = 0.03

    def ready(self, params: TvL1Params) -> "Timed":
        if params not in (PRESETS["classic"], PRESETS["fast"]):
            raise UserError("no such parameter.")
        return self

    def pairs_at_once(self, height: int, width: int) -> int:
        return 2

    def solve(self, grey_THW: NDArray[np.uint8], params: TvL1Params) -> NDArray[np.float32]:
        num, height, width = grey_THW.shape
        time.sleep(self.PAIR_S * (num - 1) / (1 if params == PRESETS["classic"] else 3))
        return np.zeros((num - 1, 2, height, width), np.float32)


def videos(rows: Sequence[ManifestRow]) -> list[PlannedVideo]:
    return [video for shard in plan_shards(rows, 10) for video in shard.videos]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[ManifestRow]:
    return make_rows(tmp_path_factory.mktemp("videos"), [60, 60])


def test_pairs_are_timed_with_each_recipe(rows: list[ManifestRow]) -> None:
    fast, wide = replace(FLOW, tvl1=PRESETS["fast"]), replace(FLOW, tvl1=PRESETS["wide"])
    first, quick, none = measure_pairs(videos(rows), [FLOW, fast, wide], OPEN, Timed())
    assert 8 <= first.pairs <= 48, "as many as fit in 2.5 s, at most 48"
    assert quick.pairs == max(4, first.pairs // 2)
    assert first.each_s > Timed.PAIR_S
    assert quick.each_s < first.each_s
    assert none == PairCost(), "a recipe that the solver cannot follow"


def test_slow_pairs_are_few(rows: list[ManifestRow], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Timed, "PAIR_S", 0.7)
    (first,) = measure_pairs(videos(rows)[:1], [FLOW], OPEN, Timed())
    assert first.pairs == 4


def test_what_cannot_be_read_counts_nothing(rows: list[ManifestRow], tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"no video")
    good = videos(rows)[0]
    bad = [replace(good, path=str(tmp_path / name)) for name in ("v.mp4", "none.mp4")]
    assert measure_pairs(bad, [FLOW], OPEN, Timed()) == [PairCost()]
    (found,) = measure_pairs([*bad, good], [FLOW], OPEN, Timed())
    assert found.pairs > 0


def test_a_recipe_for_long_videos_is_measured_on_their_beginnings(rows: list[ManifestRow]) -> None:
    (found,) = measure_pairs(videos(rows), [replace(FLOW, min_frames=59)], OPEN, Timed())
    assert found.pairs > 0
