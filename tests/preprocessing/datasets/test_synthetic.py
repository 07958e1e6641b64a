from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kinebert.preprocessing.datasets import synthetic
from kinebert.preprocessing.datasets.synthetic import PAIRS, SYNTHETIC_CLASSES, synthetic_frames, write_synthetic_videos
from kinebert.preprocessing.errors import ConfigError, UserError

SMALL: dict[str, Any] = {"size": (64, 48), "num_frames": 6}


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_writes_one_folder_per_class_and_says_what(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    paths = write_synthetic_videos(
        tmp_path, videos_per_class=2, seed=3, progress=lambda done, of: told.append((done, of)), **SMALL
    )
    names = [f"{name}/{name}_{number:04d}.mp4" for name in SYNTHETIC_CLASSES for number in range(2)]
    assert [str(path.relative_to(tmp_path)) for path in paths] == names
    assert sorted(_contents(tmp_path)) == sorted(names)
    assert told == [(i + 1, 16) for i in range(16)]


def test_videos_decode_to_what_was_drawn(tmp_path: Path) -> None:
    for path in write_synthetic_videos(tmp_path, videos_per_class=1, seed=5, size=(80, 64), num_frames=12):
        with av.open(path) as container:
            assert container.streams.video[0].codec_context.name == "h264"
            decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        drawn = synthetic_frames(path.parent.name, seed=5, number=0, size=(80, 64), num_frames=12)
        error = np.stack(decoded).astype(float) - drawn
        assert np.sqrt(np.mean(error**2)) < 12  # colours are stored at half the resolution
        # frames come back in the order in which they were drawn: none is nearer to another frame than to its own
        away = [[np.abs(a.astype(int) - b).mean() for b in drawn] for a in decoded]
        assert np.argmin(away, axis=1).tolist() == list(range(12))


def test_bytes_depend_on_seed_class_and_number_alone(tmp_path: Path) -> None:
    write_synthetic_videos(tmp_path / "a", videos_per_class=2, seed=1, **SMALL)
    write_synthetic_videos(tmp_path / "b", videos_per_class=1, seed=1, classes=["close", "move_up"], **SMALL)
    write_synthetic_videos(tmp_path / "c", videos_per_class=2, seed=2, **SMALL)
    a, b, c = (_contents(tmp_path / name) for name in "abc")
    assert len(b) == 2
    assert b.items() <= a.items()  # also with another number of videos, other classes, another order
    assert len({*a.values(), *c.values()}) == 32  # no two videos alike


def test_encoding_is_repeatable(tmp_path: Path) -> None:
    frames_THW3 = synthetic_frames("move_up", seed=1, number=0, **SMALL)
    rng, written, junk = np.random.default_rng(), set(), []
    for _ in range(20):  # x264's default settings gave other bytes nearly every time, depending on what memory held
        junk = [np.full(rng.integers(100, 200_000), rng.integers(255), np.uint8) for _ in range(50)]
        del junk[::2]
        synthetic._write_h264(tmp_path / "a.mp4", frames_THW3)
        written.add((tmp_path / "a.mp4").read_bytes())
    assert len(written) == 1


def test_writing_again_replaces(tmp_path: Path) -> None:
    for _ in range(2):
        path = write_synthetic_videos(tmp_path, videos_per_class=1, seed=1, classes=["open"], **SMALL)[0]
        before = path.read_bytes()
        path.write_bytes(b"damaged")
    write_synthetic_videos(tmp_path, videos_per_class=1, seed=1, classes=["open"], **SMALL)
    assert path.read_bytes() == before


@pytest.mark.parametrize("pair", PAIRS)
def test_the_second_of_a_pair_is_the_first_played_backwards(
    pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "_draw", lambda kind, rng, size, num_frames: np.array([kind, "later"]))
    first, second = (synthetic_frames(name, seed=0, number=0) for name in pair)
    assert first.tolist() == [pair[0], "later"]
    assert second.tolist() == ["later", pair[0]]


def _object_motion(frames_THW3: synthetic.UInt8) -> np.ndarray:
    """Mean flow, in pixels per frame, of the tenth of the pixels that move least like the background."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames_THW3]
    settings = (0.5, 3, 9, 3, 5, 1.1, 0)
    flows = [cv2.calcOpticalFlowFarneback(a, b, None, *settings) for a, b in pairwise(grey)]  # type: ignore[call-overload]
    flow_P2 = np.concatenate([flow.reshape(-1, 2) for flow in flows])
    away_P = np.hypot(*(flow_P2 - np.median(flow_P2, axis=0)).T)
    return np.asarray(flow_P2[away_P >= np.quantile(away_P, 0.9)].mean(axis=0))


@pytest.mark.parametrize(
    ("name", "axis", "sign"), [("move_left", 0, -1), ("move_right", 0, 1), ("move_up", 1, -1), ("move_down", 1, 1)]
)
def test_objects_move_the_way_that_their_class_says(name: str, axis: int, sign: int) -> None:
    motions = [_object_motion(synthetic_frames(name, seed=7, number=i, size=(96, 96))) for i in range(8)]
    right = [motion[axis] * sign > abs(motion[1 - axis]) for motion in motions]
    assert sum(right) >= 7, motions


@pytest.mark.parametrize(("name", "sign"), [("open", -1), ("close", 1), ("switch_on", 1), ("switch_off", -1)])
def test_the_change_of_looks_goes_the_way_that_the_class_says(
    name: str, sign: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "_window", lambda scene, corner, size: np.full((*size[::-1], 3), 128, np.float32))
    for i in range(8):  # an opening is dark, a lit lamp is bright, and the background here stands still
        light = synthetic_frames(name, seed=7, number=i).mean(axis=(1, 2, 3))
        drift = np.polyfit(np.arange(16), light, 1)[0]  # of the light on the scene
        step = np.diff(light - drift * np.arange(16))
        assert step[np.abs(step).argmax()] * sign > 0


def test_an_average_over_frames_is_alike_in_both_orders() -> None:
    def averages(name: str) -> NDArray[np.float64]:
        return np.stack([synthetic_frames(name, seed=11, number=i, **SMALL).mean() for i in range(60)])

    for first, second in PAIRS:
        a, b = averages(first), averages(second)
        error = np.sqrt(a.var() / 60 + b.var() / 60)
        assert abs(a.mean() - b.mean()) < 3.5 * error


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"classes": ["opening"]}, "opening"),
        ({"videos_per_class": 0}, "videos_per_class"),
        ({"size": (65, 48)}, "65x48"),
        ({"size": (64, 16)}, "64x16"),
        ({"num_frames": 3}, "num_frames"),
    ],
)
def test_refuses_what_it_cannot_draw(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        write_synthetic_videos(tmp_path / "new", **{"videos_per_class": 1, "seed": 0, **change})
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("something else")
    with pytest.raises(UserError, match="taken"):
        write_synthetic_videos(tmp_path / "taken", videos_per_class=1, seed=0, **SMALL)


def test_a_video_that_cannot_be_finished_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(UserError, match="No space left"):
        write_synthetic_videos(tmp_path, videos_per_class=1, seed=0, **SMALL)
    assert not _contents(tmp_path)
