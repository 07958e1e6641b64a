"""Windows of a prediction: which frames they are, and whose scores are fused with whose."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.video.frame_choice import Run
from kinebert.training.evaluation import predict
from kinebert.training.evaluation.evaluate import VideoScores
from kinebert.training.evaluation.fusion import fuse
from kinebert.training.evaluation.view_scores import ViewScores
from kinebert.training.recipe.train import DataRecipe


def views(starts: list[int], crops: int = 1, scale: float = 1.0) -> ViewScores:
    """Of one video: every clip says its own number, every crop a little more."""
    clips_N = np.repeat(np.arange(len(starts)), crops)
    crops_N = np.tile(np.arange(crops), len(starts))
    return ViewScores(
        video_ids=["v"],
        labels=np.array([-1]),
        classes=["a", "b"],
        about={"protocol": {"clips": "multi"}},
        videos=np.zeros(len(clips_N), np.int64),
        clips=clips_N,
        crops=crops_N,
        starts=np.repeat(starts, crops),
        logits=np.stack([scale * (clips_N + 0.1 * crops_N), np.ones(len(clips_N))], axis=1).astype(np.float32),
    )


def stream(frame_step: int = 1, **data: Any) -> Any:
    return SimpleNamespace(data=DataRecipe(shards="", **data), extraction=SimpleNamespace(frame_step=frame_step))


def test_crops_of_a_clip_are_averaged_and_clips_are_not() -> None:
    found = predict._by_clip(views([0, 4, 8], crops=3))
    np.testing.assert_allclose(found.scores[:, 0], [0.1, 1.1, 2.1], rtol=1e-6)
    assert found.num_clips.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (stream(clip_length=4), [(0, 3), (4, 7), (8, 9)]),  # the video has 10 images
        (stream(clip_length=4, frame_step=3), [(0, 11), (12, 23), (24, 29)]),
        (stream(clip_length=3, frame_interval=2), [(0, 4), (4, 8), (8, 9)]),
        (stream(clip_length=4, sampling="sections"), [(0, 9)] * 3),
    ],
)
def test_frames_of_a_window(of: Any, expected: list[tuple[int, int]]) -> None:
    assert predict._frames_of(views([0, 4, 8], crops=2), of, 10) == expected


def test_windows_count_the_frames_of_the_file_where_repeats_were_dropped() -> None:
    run = Run(1, drop_repeats=True)
    kinds = [0, 90, 90, 180, 0, 0, 90]  # distinct: 0, 1, 3, 4, 6
    assert sum(run.takes(np.full((4, 4), kind, np.uint8)) for kind in kinds) == 5
    assert predict._in_file([(0, 1), (2, 3), (4, 4)], run) == [(0, 2), (3, 5), (6, 6)]
    assert predict._in_file([(0, 5)], run) == [(0, 6)], "a clip that is filled up shows no more than there is"
    assert predict._in_file([(0, 1)], Run(1, drop_repeats=False)) == [(0, 1)]


def test_windows_are_fused_with_the_nearest_of_the_other_stream() -> None:
    """Clips of 8 beside clips of 16: each short one with the long one around it."""
    short, long = predict._by_clip(views([0, 8, 16, 24])), predict._by_clip(views([0, 16], scale=5.0))
    windows = [[(0, 7), (8, 15), (16, 23), (24, 31)], [(0, 15), (16, 31)]]
    found = predict._fused_windows([short, long], windows, [1.0, 2.0], "l2")
    for row, other in enumerate((0, 0, 1, 1)):
        pair = [one(short, row), one(long, other)]
        np.testing.assert_allclose(found[row], fuse(pair, [1.0, 2.0]).scores.scores[0], rtol=1e-6)
    np.testing.assert_array_equal(predict._fused_windows([short], windows[:1], None, "l2"), short.scores)


def one(scores: VideoScores, row: int) -> VideoScores:
    return VideoScores(
        video_ids=["w"],
        labels=np.array([-1]),
        classes=scores.classes,
        about=scores.about,
        scores=scores.scores[row : row + 1],
        num_clips=np.ones(1, np.int64),
    )


def test_streams_of_other_classes_are_named() -> None:
    rgb, flow, other = (
        SimpleNamespace(uri=f"/runs/{name}/best.pt", classes=classes)
        for name, classes in (("rgb", ("a", "b")), ("flow", ("a", "b")), ("other", ("b", "a")))
    )
    streams: Any = [rgb, flow]
    predict.check_streams(streams)
    with pytest.raises(UserError, match=r"/runs/other/best.pt: knows other classes than /runs/rgb/best.pt"):
        predict.check_streams([*streams, other])  # type: ignore[list-item]
