"""Folders of pictures that other tools read."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.sets.export import export_frames
from kinebert.preprocessing.sets.reader import ShardSet
from tests.helpers.sets import make_rows, make_set


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[ShardSet, ShardSet]:
    folder = tmp_path_factory.mktemp("sets")
    rows = make_rows(folder / "videos", [5, 35])
    return (
        make_set(rows, folder / "rgb", FrameRecipe(resize="none")),
        make_set(rows, folder / "flow", FlowRecipe(resize="none")),
    )


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_frames_and_flow_share_a_folder(sets: tuple[ShardSet, ShardSet], tmp_path: Path) -> None:
    frames, flow = sets
    seen: list[tuple[int, int]] = []
    assert export_frames(frames, tmp_path, on_video=lambda *at: seen.append(at)) == 40
    assert seen == [(1, 2), (2, 2)]
    assert export_frames(flow, tmp_path) == 2 * (4 + 34)
    assert names(tmp_path) == sorted(
        [".flow-of", ".rgb-of"]
        + [f"class0/v00/img_{i:05d}.jpg" for i in range(1, 6)]
        + [f"class1/v01/img_{i:05d}.jpg" for i in range(1, 36)]
        + [f"class0/v00/flow_{axis}_{i:05d}.jpg" for axis in "xy" for i in range(1, 5)]
        + [f"class1/v01/flow_{axis}_{i:05d}.jpg" for axis in "xy" for i in range(1, 35)]
    )


def test_pictures_of_another_set_are_not_mixed_in(sets: tuple[ShardSet, ShardSet], tmp_path: Path) -> None:
    frames, _ = sets
    export_frames(frames, tmp_path)
    other = ShardSet.open(frames.uri)
    other.content = "other"
    with pytest.raises(UserError, match="holds rgb pictures of another set"):
        export_frames(other, tmp_path)


def test_pictures_are_the_stored_bytes(sets: tuple[ShardSet, ShardSet], tmp_path: Path) -> None:
    frames, flow = sets
    export_frames(frames, tmp_path)
    export_frames(flow, tmp_path)
    folder, entry = tmp_path / "class1" / "v01", frames.entry("class1/v01")
    for i, (jpeg,) in enumerate(frames.read_jpegs(entry, range(35))):
        assert (folder / f"img_{i + 1:05d}.jpg").read_bytes() == jpeg.to_pybytes()
    field = flow.read_clip(flow.entry("class1/v01"), [33])[0]
    for axis, name in enumerate("xy"):
        picture = cv2.imread(str(folder / f"flow_{name}_00034.jpg"), cv2.IMREAD_UNCHANGED)
        assert picture is not None
        assert np.array_equal(picture, field[..., axis])


def test_a_second_run_keeps_what_is_whole(sets: tuple[ShardSet, ShardSet], tmp_path: Path) -> None:
    frames, _ = sets
    export_frames(frames, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jpg")}
    (tmp_path / "class0/v00/img_00003.jpg").write_bytes(b"half")
    (tmp_path / "class1/v01/img_00035.jpg").unlink()
    assert export_frames(frames, tmp_path) == 2
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jpg")}
    changed = {path.name for path in after if after[path] != before[path]}
    assert changed == {"img_00003.jpg", "img_00035.jpg"}
    assert export_frames(frames, tmp_path) == 0


def test_an_id_that_leads_out_is_refused(sets: tuple[ShardSet, ShardSet], tmp_path: Path) -> None:
    frames, _ = sets
    outward = ShardSet.open(frames.uri)
    for video_id in ("../escaped", "/tmp/escaped", "."):
        outward.videos = [replace(frames.videos[0], video_id=video_id)]
        with pytest.raises(UserError, match="this video_id leads out of"):
            export_frames(outward, tmp_path / "pictures")
    assert names(tmp_path) == []


def test_a_disk_that_refuses_is_explained(sets: tuple[ShardSet, ShardSet], tmp_path: Path) -> None:
    (tmp_path / "class0").write_bytes(b"")
    with pytest.raises(UserError, match="class0/v00: cannot write pictures: "):
        export_frames(sets[0], tmp_path)
