"""Scores of videos and of views, and their tables, against hand-worked numbers."""

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from kinebert.preprocessing.errors import ConfigError, UserError
from kinebert.training.clips.sampling import multi_clips
from kinebert.training.data.parts import check_videos
from kinebert.training.evaluation import evaluate as evaluate_module
from kinebert.training.evaluation import metrics as metrics_module
from kinebert.training.evaluation.evaluate import (
    average,
    clip_level,
    evaluate,
    read_scores,
    score_views,
    write_scores,
)
from kinebert.training.evaluation.scorer import Scorer
from kinebert.training.evaluation.view_scores import ViewScores, is_views, read_views, write_views
from kinebert.training.models import Recognizer, build_recognizer
from kinebert.training.numerics import Inference
from kinebert.training.recipe.protocol import ProtocolRecipe
from kinebert.training.recipe.train import DataRecipe
from kinebert.training.run_folder import checkpoint_digest
from tests.helpers.fake_shards import FakeRejected, make_shards

DATA = DataRecipe(shards="/fake/set", clip_length=4, crop_size=16)


def recognizer(num_classes: int = 3, modality: str = "rgb") -> Recognizer:
    torch.manual_seed(0)
    return build_recognizer(
        backbone="resnet18",
        head="tgap",
        modality=modality,
        num_classes=num_classes,
        clip_length=4,
        size=16,
        width=0.125,
    )


@pytest.mark.parametrize("batch", [1, 5, 64])
def test_a_video_s_score_is_the_mean_over_its_clips(batch: int) -> None:
    shards = make_shards()
    model = recognizer()
    result = evaluate(model, shards, DATA, part="val", protocol=ProtocolRecipe(clips="multi"), batch=batch)
    videos = shards.select("split1", "val")
    assert result.video_ids == [video.video_id for video in videos]
    expected_num = [len(multi_clips(video.num_images, 4, 1)) for video in videos]
    assert result.num_clips.tolist() == expected_num
    assert max(expected_num) > 1
    i = int(np.argmax(expected_num))
    per_clip = []
    for indices in multi_clips(videos[i].num_images, 4, 1):
        clip = shards.read_clip(videos[i], indices.tolist())[:, 1:22, 5:26]  # int(24 * .875) = 21, in the middle
        resized = np.stack([cv2.resize(frame, (16, 16)) for frame in clip])
        x = torch.from_numpy(resized).permute(3, 0, 1, 2)[None].float() / 255
        mean, std = (torch.tensor(v).view(1, 3, 1, 1, 1) for v in (model.spec.mean, model.spec.std))
        with torch.no_grad():
            per_clip.append(model((x - mean) / std)[0].numpy())
    np.testing.assert_allclose(result.scores[i], np.mean(per_clip, axis=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("amp", ["auto", "bf16", "fp16", "fp64"])
def test_a_cpu_scores_in_full_precision_whatever_the_recipe_says(amp: str) -> None:
    """So the validation report of a training and a later evaluation of its checkpoint say the same."""
    model, shards = recognizer(), make_shards()
    full = evaluate(model, shards, DATA, part="val", inference=Inference(amp="off")).scores
    how = Inference(amp=amp)
    np.testing.assert_array_equal(evaluate(model, shards, DATA, part="val", inference=how).scores, full)
    videos = shards.select("split1", "val")
    scorer = Scorer(model, shards, videos, DATA, ProtocolRecipe(), inference=how)
    (logits,) = scorer([[(v, 0) for v in range(len(videos))]])
    np.testing.assert_array_equal(logits, full)


def test_every_batch_is_scored_by_the_algorithms_that_are_asked_for() -> None:
    """Those that cuDNN finds by measuring, or those that give the same bits; the caller's choice is left alone."""
    model, shards, seen = recognizer(), make_shards(), list[bool]()
    model.register_forward_pre_hook(lambda *_: seen.append(torch.backends.cudnn.benchmark))
    for deterministic in (False, True):
        evaluate(model, shards, DATA, part="val", batch=2, inference=Inference(deterministic=deterministic))
        assert seen.pop() is not deterministic
        assert set(seen) == {not deterministic}
        seen.clear()
    assert not torch.backends.cudnn.benchmark


def test_scores_come_from_the_same_network_whatever_its_layout() -> None:
    shards = make_shards()
    plain = evaluate(recognizer(), shards, DATA, part="val").scores
    model = recognizer()
    how = Inference(channels_last=True, compile=True)  # on GPUs only
    last = evaluate(model, shards, DATA, part="val", inference=how).scores
    np.testing.assert_allclose(last, plain, rtol=1e-4, atol=1e-5)
    kernels = [weights for weights in model.parameters() if weights.ndim == 4 and weights.shape[1] > 1]
    assert kernels
    assert all(weights.is_contiguous(memory_format=torch.channels_last) for weights in kernels)


def test_a_clip_is_read_once_for_all_its_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a batch has no room for two clips: none is half in it."""
    shards, read = make_shards(), list[Any]()
    whole = type(shards).read_clip

    def counting(self: Any, entry: Any, indices: Any) -> Any:
        read.append((entry.video_id, tuple(indices)))
        return whole(self, entry, indices)

    monkeypatch.setattr(type(shards), "read_clip", counting)
    protocol = ProtocolRecipe(clips="multi", crops=3)
    videos, seen = shards.select("split1", "val"), list[set[int]]()
    scorer = Scorer(recognizer(), shards, videos, DATA, protocol)

    def watching(batches: Any) -> Any:
        seen.extend({view // 3 + 1000 * video for video, view in batch} for batch in batches)
        return scorer(batches)

    score_views(shards, videos, DATA, protocol, watching, part="val", batch=7)
    assert len(read) == len(set(read)) == sum(map(len, seen)) > 9


def test_progress_and_rejected_videos() -> None:
    shards = make_shards()
    shards.rejected = [
        FakeRejected("bad", "no frame decodes", {"split1": "val"}),
        FakeRejected("other", "too short", {"split1": "train"}),
    ]
    seen: list[tuple[int, int]] = []
    videos, notes = check_videos(shards, DATA, "val")
    scorer = Scorer(recognizer(), shards, videos, DATA, ProtocolRecipe())
    settings: dict[str, Any] = {"part": "val", "batch": 4, "notes": notes}
    views = score_views(
        shards, videos, DATA, ProtocolRecipe(), scorer, **settings, progress=lambda *done: seen.append(done)
    )
    result = average(views)
    assert seen == [(4, 9), (8, 9), (9, 9)]
    assert result.rejected == [{"video_id": "bad", "problem": "no frame decodes"}]
    assert any("1 video" in note and "rejected" in note for note in result.notes)
    assert (result.about["views"], result.about["num_views"]) == ("single", 9)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="rgb of 3 classes, the recognizer takes rgb of 5 classes"):
        evaluate(recognizer(5), make_shards(), DATA, part="val")
    with pytest.raises(UserError, match="takes flow"):
        evaluate(recognizer(3, "flow"), make_shards(), DATA, part="val")
    model = recognizer()
    nn.init.constant_(model.classifier.weight, float("nan"))
    with pytest.raises(UserError, match="9 of 9 videos have scores that are no numbers, the first is v024"):
        evaluate(model, make_shards(), DATA, part="val")


def test_scores_come_back_from_their_file(tmp_path: Path) -> None:
    before = evaluate(recognizer(), make_shards(), DATA, part="val")
    uri = str(tmp_path / "scores.parquet")
    write_scores(uri, before)
    after = read_scores(uri)
    assert (after.video_ids, after.classes, after.about) == (before.video_ids, before.classes, before.about)
    np.testing.assert_array_equal(after.scores, before.scores)
    np.testing.assert_array_equal(after.labels, before.labels)
    np.testing.assert_array_equal(after.num_clips, before.num_clips)
    assert after.metrics().as_numbers() == before.metrics().as_numbers()
    first = checkpoint_digest(uri)
    write_scores(uri, evaluate(recognizer(), make_shards(), DATA, part="train"))
    assert checkpoint_digest(uri) != first


def all_views(protocol: ProtocolRecipe, data: DataRecipe = DATA, batch: int = 16) -> ViewScores:
    shards = make_shards()
    videos = shards.select("split1", "val")
    scorer = Scorer(recognizer(), shards, videos, data, protocol)
    return score_views(shards, videos, data, protocol, scorer, part="val", batch=batch)


def test_ten_crops_are_averaged_over_clips_and_crops() -> None:
    views = all_views(ProtocolRecipe(clips="multi", crops=10), batch=7)
    num_clips = [len(multi_clips(video.num_images, 4, 1)) for video in make_shards().select("split1", "val")]
    assert np.bincount(views.videos).tolist() == [10 * num for num in num_clips]
    assert sorted(set(views.crops.tolist())) == list(range(10))
    whole = average(views)
    assert whole.num_clips.tolist() == num_clips
    of_first = views.videos == 0
    np.testing.assert_allclose(whole.scores[0], views.logits[of_first].mean(axis=0), rtol=1e-5, atol=1e-6)
    centre = average(views, crops=[0])
    alone = evaluate(recognizer(), make_shards(), DATA, part="val", protocol=ProtocolRecipe(clips="multi"))
    np.testing.assert_allclose(centre.scores, alone.scores, rtol=1e-4, atol=1e-6)  # in batches of other views
    assert centre.about["views"] == "multi-x10-crops0"
    mirrored = views.logits[of_first & (views.crops == 5)] - views.logits[of_first & (views.crops == 0)]
    assert abs(mirrored).max() > 1e-4  # the sixth crop is the first one's mirror image: other scores


def test_averaging_anew() -> None:
    views = all_views(ProtocolRecipe(clips=3))
    assert set(views.starts[views.clips == 0].tolist()) == {0}
    soft = average(views, "softmax")
    powers = np.exp(views.logits[views.videos == 2].astype(np.float64))
    expected = (powers / powers.sum(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(soft.scores[2], expected, rtol=1e-6)
    assert (soft.scale, soft.about["protocol"]["average"]) == ("probabilities", "softmax")
    assert (average(views).scale, average(views).about["views"]) == ("logits", "3")
    two = average(views, clips=[0, 2])
    assert two.num_clips.tolist() == [2] * 9
    rows = (views.videos == 4) & (views.clips != 1)
    np.testing.assert_allclose(two.scores[4], views.logits[rows].mean(axis=0), rtol=1e-6)
    with pytest.raises(ConfigError, match="there is no clip 3: clips are numbered from 0 to 2"):
        average(views, clips=[3])
    uneven = all_views(ProtocolRecipe(clips="multi"))
    with pytest.raises(ConfigError, match="videos have none of these clips, the first is v"):
        average(uneven, clips=[1])


def test_clips_by_themselves() -> None:
    views = ViewScores(
        video_ids=["a", "b"],
        labels=np.array([0, 1]),
        classes=["x", "y"],
        about={"protocol": {"clips": 2, "crops": 3}},
        videos=np.array([0, 0, 0, 0, 1, 1]),
        clips=np.array([0, 0, 1, 1, 0, 1]),
        crops=np.array([0, 1, 0, 1, 0, 0]),
        starts=np.zeros(6, np.int64),
        # a's first clip is right over its two crops, its second is not; b's first is right
        logits=np.array([[5, 0], [0, 1], [0, 3], [1, 0], [0, 1], [1, 0]], np.float32),
    )
    found = clip_level(views)
    assert (found.num_videos, found.top[1]) == (4, 0.5)
    assert found.confusion.tolist() == [[1, 1], [1, 1]]
    assert average(views).metrics().top[1] == 0.5  # a by 3 : 2; b's clips are even, and the first class wins


def many_views(num_videos: int, num_classes: int, average: str) -> ViewScores:
    """Two crops of five clips of each video, in no order."""
    rng = np.random.default_rng(0)
    rows = rng.permutation(10 * num_videos)
    return ViewScores(
        video_ids=[f"v{i}" for i in range(num_videos)],
        labels=rng.integers(0, num_classes, num_videos),
        classes=[f"c{i}" for i in range(num_classes)],
        about={"protocol": {"clips": 5, "crops": 3, "average": average}},
        videos=rows // 10,
        clips=rows % 10 // 2,
        crops=rows % 2,
        starts=np.zeros(len(rows), np.int64),
        logits=rng.normal(size=(len(rows), num_classes)).astype(np.float32),
    )


@pytest.mark.parametrize("how", ["logits", "softmax"])
def test_chunks_add_up_to_the_same_bytes(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    views = many_views(30, 7, how)
    values = views.logits.astype(np.float64)
    if how == "softmax":
        values = np.exp(values - values.max(axis=1, keepdims=True))
        values /= values.sum(axis=1, keepdims=True)
    sums = np.zeros((30, 7))
    for row, value in zip(views.videos, values, strict=True):  # one after the other, as they stand
        sums[row] += value
    by_clip = clip_level(views).as_numbers()
    for module in (evaluate_module, metrics_module):
        monkeypatch.setattr(module, "CHUNK_ROWS", 4)
    np.testing.assert_array_equal(average(views).scores, (sums / 10).astype(np.float32))
    assert average(views, crops=[1]).num_clips.tolist() == [5] * 30
    assert clip_level(views).as_numbers() == by_clip
    assert clip_level(views).num_videos == 150


@pytest.mark.parametrize("how", ["logits", "softmax"])
def test_averaging_takes_little_more_than_the_scores_of_videos(how: str) -> None:
    """A few chunks in float64, however many views there are: 30 views of each video of Kinetics-700 would be 6 GB."""
    views = many_views(6000, 64, how)
    for work in (average, clip_level):
        tracemalloc.start()
        work(views)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < views.logits.nbytes * 1.9  # a copy of all in float64 is twice that, and there were four


def test_views_come_back_from_their_file(tmp_path: Path) -> None:
    before = all_views(ProtocolRecipe(clips="multi", crops=3))
    uri = str(tmp_path / "views.parquet")
    write_views(uri, before)
    after = read_views(uri)
    assert (after.video_ids, after.about, after.notes) == (before.video_ids, before.about, before.notes)
    for name in ("labels", "videos", "clips", "crops", "starts", "logits"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name), err_msg=name)
    np.testing.assert_array_equal(average(after).scores, average(before).scores)
    assert is_views(uri)
    with pytest.raises(UserError, match="not a table of scores"):
        read_scores(uri)
    write_scores(uri, average(after))
    assert not is_views(uri)
    with pytest.raises(UserError, match="not a table of scores of views"):
        read_views(uri)


def test_sections_with_offsets_are_scored() -> None:
    views = all_views(ProtocolRecipe(clips=5, crops=3, scale=1.0, crop_size=24), replace(DATA, sampling="sections"))
    assert np.bincount(views.videos).tolist() == [15] * 9
    with pytest.raises(ConfigError, match="data.sampling is sections"):
        all_views(ProtocolRecipe(clips="eccv2020"), replace(DATA, sampling="sections"))


def test_files_that_are_no_scores(tmp_path: Path) -> None:
    (tmp_path / "rubbish").write_bytes(b"rubbish")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    for name, words in [
        ("rubbish", "not a Parquet file"),
        ("other.parquet", "not a table of scores"),
        ("no", "no such"),
    ]:
        with pytest.raises(UserError, match=words):
            read_scores(str(tmp_path / name))
