"""Predictions for new videos: the scores of evaluation, window by window, in bounded memory."""

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from kinebert.orchestration.reports.annotated_video import Window, annotate_video
from kinebert.pipelines import predict
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.video_as_set import video_set
from kinebert.preprocessing.recipe import FlowRecipe, FrameRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.evaluation.calibration import calibrate
from kinebert.training.evaluation.evaluate import VideoScores, average, score_views, write_scores
from kinebert.training.evaluation.fusion import fuse
from kinebert.training.evaluation.predict import Stream
from kinebert.training.evaluation.scorer import Scorer
from kinebert.training.evaluation.view_scores import About
from kinebert.training.recipe.train import ProtocolRecipe
from kinebert.training.run_folder import checkpoint_digest
from tests.helpers.checkpoints import make_checkpoint
from tests.helpers.sets import make_rows, make_set
from tests.helpers.videos import moving_texture, write_video

LENGTHS = [9, 14, 5]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predict")
    rows = make_rows(folder / "videos", LENGTHS)
    for name, recipe in (("rgb", FrameRecipe(width=80, height=60)), ("flow", FlowRecipe(width=80, height=60))):
        shards = make_set(rows, folder / "sets" / name, recipe, solver=FlowSolver(backend="numba"))
        make_checkpoint(folder / name / "best.pt", shards, ProtocolRecipe(clips="multi", crops=10), seed=len(name))
    return folder


@pytest.fixture
def kept(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    return work


def evaluated(work: Path, name: str) -> VideoScores:
    """The scores of all videos from the set that extraction made."""
    stream = Stream.load(str(work / name / "best.pt"))
    shards = ShardSet.open(str(work / "sets" / name))
    videos = sorted(shards.videos, key=lambda video: video.video_id)
    scorer = Scorer(stream.recognizer, shards, videos, stream.data, stream.protocol)
    return average(score_views(shards, videos, stream.data, stream.protocol, scorer, part=""))


def predictions(folder: str = "predictions") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(folder) / "predictions.json").read_text())
    return found


@pytest.mark.parametrize("names", [("rgb",), ("flow",), ("rgb", "flow")])
def test_the_scores_are_those_of_evaluation(kept: Path, names: tuple[str, ...]) -> None:
    checkpoints = [str(kept / name / "best.pt") for name in names]
    assert predict.cli([str(kept / "videos"), "--checkpoint", *checkpoints]) == 0
    tables = [evaluated(kept, name) for name in names]
    expected = tables[0] if len(names) == 1 else fuse(tables).scores
    found = predictions()["videos"]
    assert [video["video"] for video in found] == expected.video_ids
    # the pictures are the same bytes; views meet others in a batch
    np.testing.assert_allclose([video["scores"] for video in found], expected.scores, rtol=1e-4, atol=1e-6)
    with open("predictions/predictions.csv") as file:
        rows = list(csv.DictReader(file))
    best = [expected.classes[k] for k in expected.scores.argmax(axis=1)]
    assert [row["class1"] for row in rows] == [video["top"][0]["class"] for video in found] == best
    assert [video["frames"] for video in found] == sorted_lengths(found)
    shares = np.array([video["probabilities"] for video in found])
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert shares.argmax(axis=1).tolist() == expected.scores.argmax(axis=1).tolist()
    assert [video["top"][0]["probability"] for video in found] == pytest.approx(shares.max(axis=1))
    assert ("calibration" in predictions()) == (len(names) > 1)


def validated(work: Path, folder: Path) -> list[VideoScores]:
    """Two checkpoints in ``folder`` with the scores of a validation part, of which most are right, beside them."""
    tables = []
    for seed, name in enumerate(("rgb", "flow")):
        shutil.copytree(work / name, folder / name)
        stream = Stream.load(str(folder / name / "best.pt"))
        labels = np.arange(12) % 2
        taken = np.where(np.arange(12) < 9 + seed, labels, 1 - labels)
        scores = 2 * np.eye(2)[taken] + np.random.default_rng(seed).normal(size=(12, 2))
        about: About = {"checkpoint": checkpoint_digest(stream.uri), "split": "split1", "part": "val"}
        table = VideoScores(
            video_ids=[f"v{i}" for i in range(12)],
            labels=labels,
            scores=scores.astype(np.float32),
            num_clips=np.ones(12, np.int64),
            classes=list(stream.classes),
            about={**about, "views": stream.protocol.name, "modality": name},
        )
        place = folder / name / f"split1-val-{stream.protocol.name}"
        place.mkdir()
        write_scores(str(place / "scores.parquet"), table)
        tables.append(table)
    return tables


def test_a_fusion_says_probabilities_by_the_temperature_that_validation_chooses(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = validated(kept, tmp_path / "runs")
    checkpoints = [str(tmp_path / "runs" / name / "best.pt") for name in ("rgb", "flow")]
    video = str(kept / "videos" / "class0" / "v00.mp4")
    assert predict.cli([video, "--checkpoint", *checkpoints, "--annotate"]) == 0
    chosen = calibrate([], None, "l2", tables)
    assert chosen.temperature != 1
    found = predictions()
    assert found["calibration"] == pytest.approx(asdict(chosen))
    (row,) = found["videos"]
    sums = np.array(row["scores"])
    expected = np.exp(sums / chosen.temperature) / np.exp(sums / chosen.temperature).sum()
    assert row["probabilities"] == pytest.approx(expected.tolist())
    printed = capsys.readouterr().out
    assert f"temperature {chosen.temperature:.3g}, chosen on 12 videos of split1/val (ECE there" in printed
    assert f"v00: {row['top'][0]['class']} {max(expected):.0%}, " in printed
    with av.open("predictions/v00.mp4") as container:
        panel = next(container.decode(video=0)).to_ndarray(format="rgb24")[-92:].astype(int)
    best = panel[:46]  # the upper of two bars: as long as the probability of the clip's best class
    length = ((best[..., 2] - best[..., 0]) > 40).any(axis=0).sum() / panel.shape[1]
    assert length == pytest.approx(row["windows"][0]["top"][0]["probability"], abs=0.06)


def test_a_fusion_without_validation_says_so(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints = [str(kept / name / "best.pt") for name in ("rgb", "flow")]
    assert predict.cli([str(kept / "videos" / "class0" / "v00.mp4"), "--checkpoint", *checkpoints]) == 0
    printed = capsys.readouterr().out
    assert (
        "each video's own temperature, as sure as the streams' own scores; not calibrated: no scores of rgb, flow"
        in printed
    )
    assert "(kinebert evaluate CHECKPOINT --part val, with views multi-x10)" in printed
    found = predictions()
    assert (found["calibration"]["temperature"], found["calibration"]["chosen_on"]) == (None, "")
    assert found["videos"][0]["temperature"] > 0


@pytest.mark.parametrize("name", ["rgb", "flow"])
def test_the_pictures_are_those_of_extraction_byte_for_byte(kept: Path, tmp_path: Path, name: str) -> None:
    shards = ShardSet.open(str(kept / "sets" / name))
    stored = shards.entry("class1/v01")
    stream = Stream.load(str(kept / name / "best.pt"))
    path = str(kept / "videos" / "class1" / "v01.mp4")
    single = video_set(path, str(tmp_path), stream.extraction, stream.classes, FlowSolver(backend="numba"))
    (entry,) = single.videos
    indices = range(stored.num_images)
    assert (entry.num_images, single.digest) == (stored.num_images, shards.digest)
    assert single.read_jpegs(entry, indices) == shards.read_jpegs(stored, indices)


def sorted_lengths(found: list[dict[str, Any]]) -> list[int]:
    """Frames of the videos v00, v01, ..., in the order of the result."""
    return [LENGTHS[int(video["video"][-2:])] for video in found]


def test_a_sliding_window_over_a_longer_video(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(Path("long.mp4"), moving_texture(61), fps=10)
    options = ["--checkpoint", str(kept / "rgb" / "best.pt"), "--step", "2", "--crops", "1", "--annotate"]
    assert predict.cli(["long.mp4", *options]) == 0
    (video,) = predictions()["videos"]
    assert [window["first_frame"] for window in video["windows"]] == list(range(0, 58, 2))
    assert [(video["windows"][i]["start_s"], video["windows"][i]["end_s"]) for i in (0, 28)] == [(0, 0.4), (5.6, 6.0)]
    shares = [one["probability"] for one in video["windows"][3]["top"]]
    assert sum(shares) == pytest.approx(1)
    assert capsys.readouterr().out.startswith("long: class")
    with av.open("predictions/long.mp4") as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        assert (len(frames), stream.width, stream.height, float(stream.average_rate or 0)) == (61, 320, 240 + 92, 10)


def test_what_is_written_below_a_frame(kept: Path, tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", [np.zeros((48, 66, 3), np.uint8)] * 6)
    early = Window(0, 2, (("kick", 1.0), ("wave $x$", 0.0)))
    late = Window(3, 5, (("wave $x$", 0.0), ("kick", 0.0)))
    assert annotate_video(str(path), str(tmp_path / "out.mp4"), [early, late], 25.0) == 6
    with av.open(str(tmp_path / "out.mp4")) as container:
        panels = [frame.to_ndarray(format="rgb24")[-92:].astype(int) for frame in container.decode(video=0)]
    blue = [int(((panel[..., 2] - panel[..., 0]) > 40).sum()) for panel in panels]
    assert min(blue[:3]) > 5000
    assert max(blue[3:]) < 500


def test_videos_that_cannot_be_read_are_said_and_the_others_are_done(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad.mp4").write_bytes(b"no video")
    write_video(Path("bad/bad.mp4"), moving_texture(6))
    args = ["bad.mp4", "bad/bad.mp4", "--checkpoint", str(kept / "rgb" / "best.pt")]
    assert predict.cli(args) == 1
    assert "bad: left out: decode: 0 frames, at least 2 are needed" in capsys.readouterr().out
    first, second = predictions()["videos"]
    assert first["problem"].startswith("decode: 0 frames")
    assert (second["video"], second["frames"]) == ("bad-2", 6)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["absent.mp4", "--checkpoint", "{rgb}"], "absent.mp4: there is no such video or folder"),
        ([".", "--checkpoint", "{rgb}"], "there is no video in this folder"),
        (["{videos}", "--checkpoint", "{rgb}", "--weights", "1", "2"], "one number per checkpoint (1)"),
        (["{videos}", "--checkpoint", "{rgb}", "--top", "0"], "batch and top must be at least 1"),
        (["{videos}", "--checkpoint", "{videos}/class0/v00.mp4"], "not a kinebert checkpoint"),
    ],
)
def test_mistakes(kept: Path, args: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"rgb": str(kept / "rgb" / "best.pt"), "videos": str(kept / "videos")}
    assert predict.cli([arg.format(**names) for arg in args]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not Path("predictions/predictions.json").exists()


@pytest.mark.slow
def test_memory_does_not_grow_with_length(kept: Path, tmp_path: Path) -> None:
    """Peak memory of a video of 2,000 frames and of one of 200; decoded, the former would take 460 MB."""
    peaks = []
    for repeats in (10, 100):
        path = write_video(tmp_path / f"{repeats}.mp4", moving_texture(20, 320, 240) * repeats)
        code = (
            "import resource, sys; from kinebert.pipelines import predict; predict.cli(sys.argv[1:]); "
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        args = [str(path), "--checkpoint", str(kept / "rgb" / "best.pt"), "--step", "8", "--crops", "1", "--annotate"]
        done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[-1]) / 1024)
    print("MiB:", peaks)
    assert peaks[1] < peaks[0] + 60, peaks
