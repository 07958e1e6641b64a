"""`kinebert show`: which sets are drawn, and which are refused."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.pipelines import show
from kinebert.preprocessing.datasets.manifest import ManifestRow
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe, PoseRecipe
from kinebert.preprocessing.tvl1 import TvL1Params
from tests.helpers.sets import make_rows, make_set

ID = "class0/v00"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[ManifestRow]:
    return make_rows(tmp_path_factory.mktemp("show") / "videos", [8])


@pytest.fixture(scope="module")
def sets(rows: list[ManifestRow], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of each kind, each in a folder of its own."""
    root = tmp_path_factory.mktemp("sets")
    brief = TvL1Params(warps=1, nscales=1, outer_iterations=1)
    for recipe in (
        FrameRecipe(width=80, height=60),
        PoseRecipe(width=80, height=60),
        FlowRecipe(width=80, height=60, tvl1=brief),
    ):
        make_set(rows, root / recipe.modality / recipe.modality, recipe)
    return root


def drawn(path: Path) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path))
    assert picture is not None
    return np.asarray(picture, np.uint8)


@pytest.mark.parametrize("modality", ["rgb", "pose", "flow"])
def test_a_set_alone_is_drawn(sets: Path, modality: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "sheet.png"
    assert show.cli([str(sets / modality / modality), ID, "--output", str(output), "--images", "4"]) == 0
    assert len(np.unique(drawn(output).reshape(-1, 3), axis=0)) > 100
    said = capsys.readouterr().out
    assert f"{ID} drawn to {output}" in said
    assert ("TV-L1, own parameters" in said) == (modality == "flow")


@pytest.mark.parametrize("modality", ["rgb", "pose"])
def test_flow_is_found_beside_pictures(
    sets: Path, modality: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (modality, "flow"):
        shutil.copytree(sets / name / name, tmp_path / "sets" / name)
    for first in (modality, "flow"):
        assert show.cli([str(tmp_path / "sets" / first), ID, "--output", str(tmp_path / f"{first}.png")]) == 0
        assert f"{tmp_path}/sets/flow and {tmp_path}/sets/{modality}: {ID} drawn" in capsys.readouterr().out
    both, alone = drawn(tmp_path / "flow.png"), tmp_path / "alone.png"
    assert np.array_equal(both, drawn(tmp_path / f"{modality}.png")), "whichever of them is named"
    assert show.cli([str(sets / modality / modality), ID, "--output", str(alone)]) == 0
    assert both.shape[0] > drawn(alone).shape[0]


def test_pictures_of_another_kind_are_not_taken_for_flow(
    sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("rgb", "pose"):
        shutil.copytree(sets / name / name, tmp_path / "sets" / name)
    rgb, pose = str(tmp_path / "sets" / "rgb"), str(tmp_path / "sets" / "pose")
    assert show.cli([rgb, ID, "--output", str(tmp_path / "a.png")]) == 0
    assert capsys.readouterr().out.startswith(f"{rgb}: {ID} drawn")
    assert show.cli([rgb, ID, "--with", pose]) == 2
    assert "both hold rgb or pose, no flow; --with takes the other kind" in capsys.readouterr().err
    assert show.cli([rgb, ID, "--with", rgb]) == 2
    assert "both hold rgb; --with takes the other kind" in capsys.readouterr().err


def test_what_cannot_be_drawn_is_said(sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rgb = str(sets / "rgb" / "rgb")
    assert show.cli([rgb, "nobody"]) == 2
    assert "there is no video 'nobody'" in capsys.readouterr().err
    assert show.cli([rgb, ID, "--images", "0"]) == 2
    assert "images must be at least 1, got 0" in capsys.readouterr().err
    assert show.cli([rgb, ID, "--output", str(sets / "absent" / "x.png")]) == 2
    assert "cannot write this picture: there is no such file or folder" in capsys.readouterr().err
