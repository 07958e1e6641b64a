"""A new video, made a set of its own, holds the pictures that an extraction stores."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kinebert.preprocessing.errors import UserError, VideoError
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.video_as_set import recipe_of, video_set
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe, PoseRecipe
from kinebert.preprocessing.tvl1 import TvL1Params
from tests.helpers.sets import make_rows, make_set
from tests.helpers.videos import moving_texture, truncate_video, write_video

SMALL = FrameRecipe(width=48, height=32)
FLOW = FlowRecipe(width=48, height=32, bound=8, tvl1=TvL1Params(warps=1, nscales=2))
SOLVER = FlowSolver(backend="opencv")


@pytest.mark.parametrize("recipe", [SMALL, FLOW], ids=["frames", "flow"])
def test_its_bytes_are_those_of_an_extraction(recipe: FrameRecipe, tmp_path: Path) -> None:
    (row,) = make_rows(tmp_path / "videos", [40])
    stored = make_set([row], tmp_path / "set", recipe, solver=SOLVER)
    (tmp_path / "one").mkdir()
    found = video_set(row.path, str(tmp_path / "one"), recipe, ["a", "b"], SOLVER)
    (entry,) = found.videos
    assert (found.modality, found.digest, found.classes) == (recipe.modality, stored.digest, ["a", "b"])
    assert (entry.video_id, entry.label, entry.splits) == (row.path, -1, {})
    before = stored.entry(row.video_id)
    assert (entry.num_frames, entry.num_images, entry.num_row_groups) == (
        before.num_frames,
        before.num_images,
        before.num_row_groups,
    )
    indices = range(entry.num_images)
    for ours, theirs in zip(found.read_jpegs(entry, indices), stored.read_jpegs(before, indices), strict=True):
        assert [part.to_pybytes() for part in ours] == [part.to_pybytes() for part in theirs]
    assert np.array_equal(found.read_clip(entry, [0, 35]), stored.read_clip(before, [0, 35]))


def test_every_image_is_told_and_damage_is_said(tmp_path: Path) -> None:
    path = truncate_video(write_video(tmp_path / "v.mp4", moving_texture(60)))
    (tmp_path / "one").mkdir()
    beats: list[None] = []
    found = video_set(str(path), str(tmp_path / "one"), SMALL, [], FlowSolver(), lambda: beats.append(None))
    (entry,) = found.videos
    assert 0 < entry.num_images < 60
    assert len(beats) == entry.num_images
    assert entry.truncated
    assert str(entry.problem).startswith("InvalidDataError")


def test_a_file_that_is_no_video_is_an_error_of_that_video(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"nothing")
    (tmp_path / "one").mkdir()
    with pytest.raises(VideoError, match="0 frames, at least 2 are needed; InvalidDataError"):
        video_set(str(tmp_path / "x.mp4"), str(tmp_path / "one"), SMALL, [], FlowSolver())
    assert list((tmp_path / "one").iterdir()) == []


@pytest.mark.parametrize("recipe", [SMALL, replace(SMALL, resize="short_side", jpeg_quality=80), FLOW, PoseRecipe()])
def test_a_recipe_comes_back_from_what_sets_and_checkpoints_keep(recipe: FrameRecipe) -> None:
    found = recipe_of(recipe.plain(), recipe.digest(), "a checkpoint")
    assert type(found) is type(recipe)
    assert found.digest() == recipe.digest()
    assert found.plain() == recipe.plain()


def test_pictures_that_this_version_does_not_make_are_refused() -> None:
    with pytest.raises(UserError, match=r"^c\.pt: this version does not make the pictures .* \(recipe 0123\)"):
        recipe_of(SMALL.plain(), "0123", "c.pt")
    with pytest.raises(UserError, match="Use the version that made them, or extract and train again"):
        recipe_of({**SMALL.plain(), "format": 99}, SMALL.digest(), "c.pt")
