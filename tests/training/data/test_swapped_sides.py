"""Mirrored clips of poses with left and right exchanged: what an extraction would have stored of such people."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.extraction import pose_finder
from kinebert.preprocessing.extraction.pose_finder import PoseFinder
from kinebert.preprocessing.pose.redrawing import read_swapped, redrawn
from kinebert.preprocessing.pose.skeleton import swap_left_right
from kinebert.preprocessing.pose.weights import FOLDER_VARIABLE
from kinebert.preprocessing.recipe import PoseRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.preprocessing.video.parts import Part
from kinebert.training.data.dataset import ClipDataset
from kinebert.training.loop.preflight import check_training
from kinebert.training.recipe.train import DataRecipe, ModelRecipe, ProtocolRecipe, TrainRecipe
from tests.helpers.poses import SHA256, Bright, bright_backend, write_weights
from tests.helpers.sets import make_rows, make_set

RECIPE: dict[str, Any] = {"backend": "bright", "weights": {"network": SHA256}, "width": 40, "height": 36}
DATA: dict[str, Any] = {"shards": "x", "clip_length": 4, "crop_size": 24, "sampling": "sections"}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[ManifestRow]:
    return make_rows(tmp_path_factory.mktemp("videos"), [9, 7, 8])


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """The backend is there, and its weights are found."""
    with bright_backend(), pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(write_weights(tmp_path_factory.mktemp("weights")).parent))
        pose_finder._started.cache_clear()
        yield patch
        pose_finder._started.cache_clear()


@pytest.fixture(scope="module")
def sets(
    rows: list[ManifestRow], backend: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ShardSet, ShardSet]:
    """A set of poses, and one of the same people with their sides exchanged."""
    folder, finder = tmp_path_factory.mktemp("sets"), PoseFinder(backend="bright")
    plain = make_set(rows, folder / "plain", PoseRecipe(**RECIPE), solver=finder)
    backend.setattr(Bright, "_look", lambda self, frame, look=Bright._look: swap_left_right(look(self, frame)))
    return plain, make_set(rows, folder / "swapped", PoseRecipe(**RECIPE), solver=finder)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("part", [None, Part(3, 5, 12, 10)])
def test_people_drawn_anew_are_those_that_were_stored(
    sets: tuple[ShardSet, ShardSet], part: Part | None, half: bool
) -> None:
    """To the bit, also where their sides are exchanged."""
    plain, swapped = sets
    for entry in plain.videos:
        images = [3, 0, 5, 3]
        stored = plain.read_part(entry, images, part, half)
        assert np.array_equal(redrawn(plain, entry, images, part, half), stored)
        other = read_swapped(plain, entry, images, part, half)
        assert np.array_equal(other, swapped.read_part(swapped.entry(entry.video_id), images, part, half))
        assert not np.array_equal(other, stored)


def same(item: Any, other: Any) -> bool:
    """Whether two clips have the same pixels."""
    return np.array_equal(item[0], other[0])


@pytest.mark.parametrize("more", [{}, {"crop": "resized"}, {"half_size": True, "crop_size": 16}])
def test_mirrored_training_clips_are_those_of_exchanged_people(
    sets: tuple[ShardSet, ShardSet], more: dict[str, Any]
) -> None:
    """Which clips are drawn, and which are mirrored, is as without the option."""
    data = {**DATA, **more}
    ours, plain, other = (
        ClipDataset(one, one.select("split1", "train"), DataRecipe(**data, flip_swaps_sides=swaps), training=True)
        for one, swaps in ((sets[0], True), (sets[0], False), (sets[1], False))
    )
    keys = [(epoch, position) for epoch in range(6) for position in range(len(ours))]
    kinds = [tuple(same(ours[key], one[key]) for one in (plain, other)) for key in keys]
    assert set(kinds) == {(True, False), (False, True)}, "every clip is of one set or of the other"


def test_mirrored_views_are_those_of_exchanged_people(sets: tuple[ShardSet, ShardSet]) -> None:
    data, protocol = DataRecipe(**DATA, flip_swaps_sides=True), ProtocolRecipe(crops=10)
    ours, plain, other = (
        ClipDataset(one, one.select("split1", "val"), recipe, protocol=protocol)
        for one, recipe in ((sets[0], data), (sets[0], DataRecipe(**DATA)), (sets[1], DataRecipe(**DATA)))
    )
    for view in (*range(10), 7, 2):
        expected = other if view >= 5 else plain
        assert same(ours[0, view], expected[0, view]), view


def test_a_set_that_cannot_be_drawn_anew_is_refused(
    rows: list[ManifestRow], backend: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawn = make_set(rows, tmp_path / "drawn", PoseRecipe(width=40, height=36))
    over = make_set(
        rows, tmp_path / "over", PoseRecipe(**RECIPE, background="frame"), solver=PoseFinder(backend="bright")
    )
    recipe = TrainRecipe(
        data=DataRecipe(**DATA, flip_swaps_sides=True), model=ModelRecipe(backbone="resnet18", head="tgap", width=0.125)
    )
    for shards, why in ((drawn, "holds no joints to draw"), (over, "drawn over frames")):
        with pytest.raises(ConfigError, match=why):
            check_training(recipe, shards, str(tmp_path / "run"))
        with pytest.raises(ConfigError, match=why):
            ClipDataset(shards, shards.videos, recipe.data, protocol=ProtocolRecipe(crops=10))
        ClipDataset(shards, shards.videos, recipe.data)  # no view of it is mirrored


@pytest.mark.parametrize(("modality", "beside"), [("rgb", ()), ("flow", ()), ("pose+flow", ("y",))])
def test_only_poses_have_sides(modality: str, beside: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="flip_swaps_sides is for drawn poses alone"):
        DataRecipe(**DATA, modality=modality, beside=beside, flip_swaps_sides=True)


def test_runs_of_earlier_versions_go_on() -> None:
    recipe = TrainRecipe(data=DataRecipe(**DATA), model=ModelRecipe(backbone="resnet18", head="tgap"))
    assert "flip_swaps_sides" not in recipe.identity()["data"]
