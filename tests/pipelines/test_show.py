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
from tests.helpers.videos import manifest_rows, write_video

ID = "class0/v00"
BRIEF = TvL1Params(warps=1, nscales=1, outer_iterations=1)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[ManifestRow]:
    return make_rows(tmp_path_factory.mktemp("show") / "videos", [8])


@pytest.fixture(scope="module")
def sets(rows: list[ManifestRow], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of each kind, each in a folder of its own."""
    root = tmp_path_factory.mktemp("sets")
    for recipe in (
        FrameRecipe(width=80, height=60),
        PoseRecipe(width=80, height=60),
        FlowRecipe(width=80, height=60, tvl1=BRIEF),
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


def test_three_streams_lie_below_each_other(
    rows: list[ManifestRow], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Frames, then flow, then poses, whichever set is named, and any of them may be missing."""
    colours = {FrameRecipe: (90, 60, 30), PoseRecipe: (10, 200, 10)}
    for kind, rgb in colours.items():
        videos = tmp_path / "videos" / kind.modality
        write_video(videos / f"{ID}.mp4", [np.full((48, 64, 3), rgb, np.uint8)] * 8)
        make_set(manifest_rows(videos), tmp_path / "sets" / kind.modality, kind(width=80, height=60))
    make_set(rows, tmp_path / "sets" / "flow", FlowRecipe(width=80, height=60, tvl1=BRIEF))
    found = {name: str(tmp_path / "sets" / name) for name in ("flow", "pose", "rgb")}
    sheets = []
    for name in found:
        assert show.cli([found[name], ID, "--output", str(tmp_path / f"{name}.png"), "--images", "3"]) == 0
        assert f"{' and '.join(found.values())}: {ID} drawn" in capsys.readouterr().out
        sheets.append(drawn(tmp_path / f"{name}.png"))
    assert np.array_equal(sheets[0], sheets[1])
    assert np.array_equal(sheets[0], sheets[2])
    tops = [91 + row * 126 for row in range(3)]  # below the wheel and a caption, 160x120 each
    frame, field, pose = (sheets[0][top + 10 : top + 110, 16:156, ::-1].reshape(-1, 3).mean(0) for top in tops)
    assert frame == pytest.approx(colours[FrameRecipe], abs=6)
    assert field[0] > field[1:].max() + 50, "the texture moves right, which is red"
    assert pose == pytest.approx(colours[PoseRecipe], abs=6)
    args = [found["rgb"], ID, "--output", str(tmp_path / "two.png"), "--images", "3", "--with"]
    assert show.cli([*args, found["pose"]]) == 0
    assert drawn(tmp_path / "two.png").shape[0] < sheets[0].shape[0]
    assert show.cli([*args, found["pose"], found["flow"]]) == 0
    assert np.array_equal(drawn(tmp_path / "two.png"), sheets[0])


def test_two_sets_of_one_kind_are_refused(sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rgb, pose = str(sets / "rgb" / "rgb"), str(sets / "pose" / "pose")
    assert show.cli([rgb, ID, "--with", pose, rgb]) == 2
    assert f"{rgb} and {rgb} both hold rgb; --with takes the other kind" in capsys.readouterr().err


def test_what_cannot_be_drawn_is_said(sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rgb = str(sets / "rgb" / "rgb")
    assert show.cli([rgb, "nobody"]) == 2
    assert "there is no video 'nobody'" in capsys.readouterr().err
    assert show.cli([rgb, ID, "--images", "0"]) == 2
    assert "images must be at least 1, got 0" in capsys.readouterr().err
    assert show.cli([rgb, ID, "--output", str(sets / "absent" / "x.png")]) == 2
    assert "cannot write this picture: there is no such file or folder" in capsys.readouterr().err
