"""What recognizers say of a new video, through the code that evaluates: over the whole of it, and window by window.

Axes: C clips (windows), K classes.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kinebert.preprocessing.config import digest
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.guard import MAX_PIXELS
from kinebert.preprocessing.extraction.pose_finder import PoseFinder
from kinebert.preprocessing.extraction.solvers import Solver
from kinebert.preprocessing.extraction.video_as_set import recipe_of as extraction_of
from kinebert.preprocessing.extraction.video_as_set import video_set
from kinebert.preprocessing.modalities import streams_of
from kinebert.preprocessing.recipe import FrameRecipe
from kinebert.preprocessing.storage import join, make_folder
from kinebert.preprocessing.video.frame_choice import Run
from kinebert.training.aligned import AlignedShards, OpenedSet
from kinebert.training.checkpoints.recognizer import CheckpointInfo, load_recognizer
from kinebert.training.clips.sampling import span
from kinebert.training.evaluation.calibration import Calibration, calibrate, own_temperature
from kinebert.training.evaluation.evaluate import VideoScores, average, recipe_of, score_views
from kinebert.training.evaluation.fusion import Method, fuse, stream_names
from kinebert.training.evaluation.metrics import probabilities
from kinebert.training.evaluation.scorer import Scorer
from kinebert.training.evaluation.validation_tables import Wanted, find_all
from kinebert.training.evaluation.view_scores import ViewScores
from kinebert.training.models import Recognizer
from kinebert.training.numerics import Inference
from kinebert.training.recipe.protocol import ProtocolRecipe
from kinebert.training.recipe.train import DataRecipe
from kinebert.training.run_folder import checkpoint_digest


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """A trained recognizer with all that it takes to show it a video."""

    uri: str
    """Checkpoint."""
    recognizer: Recognizer
    classes: tuple[str, ...]
    extractions: tuple[FrameRecipe, ...]
    """How the pictures that it was trained on were made, those of each of its modalities."""
    data: DataRecipe
    protocol: ProtocolRecipe
    inference: Inference

    @property
    def extraction(self) -> FrameRecipe:
        """How its pictures, of several modalities the first, were made; all take the same frames."""
        return self.extractions[0]

    @property
    def modality(self) -> str:
        """``rgb``, ``flow`` or another; ``rgb+flow`` of a network of two streams."""
        return self.recognizer.spec.modality

    @staticmethod
    def load(uri: str, choose: Callable[[ProtocolRecipe], ProtocolRecipe] = lambda protocol: protocol) -> "Stream":
        """Read a checkpoint; ``choose`` may put another protocol in the place of its recipe's.

        Raises:
            UserError: If it is no checkpoint, or this version cannot make the pictures that it was trained on.
        """
        recognizer, info = load_recognizer(uri)
        recipe = recipe_of(uri, info)
        protocol = choose(recipe.test)
        protocol.check_sampling(recipe.data.sampling)
        return Stream(
            uri=uri,
            recognizer=recognizer,
            classes=info.classes,
            extractions=_extractions(info, uri),
            data=recipe.data,
            protocol=protocol,
            inference=replace(Inference.of(recipe), compile=False),  # a few clips, of other shapes each time
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What is said of one video."""

    scores: NDArray[np.float32]
    """Scores of the whole video, ``(K,)``."""
    scale: str
    """``logits``, ``probabilities`` or ``sums``."""
    temperature: float = 1.0
    """What scores are divided by before their softmax gives probabilities: of a fusion; 1 of one stream."""
    windows: list[tuple[int, int]]
    """First and last frame of each clip, from 0."""
    window_scores: NDArray[np.float32]
    """Scores of each clip, the mean over its crops, ``(C, K)``, on the scale of ``scores``."""
    num_frames: int
    """Frames that were decoded and used."""
    problem: str | None
    """Why decoding ended early, if it did."""

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Of the classes in the whole video, ``(K,)``; they sum to 1."""
        (shares_K,) = probabilities(self.scores[None], self.scale, self.temperature)
        return np.asarray(shares_K)

    @property
    def window_probabilities(self) -> NDArray[np.float64]:
        """Of the classes in each clip, ``(C, K)``; rows sum to 1."""
        return probabilities(self.window_scores, self.scale, self.temperature)


def predict_video(
    path: str,
    streams: Sequence[Stream],
    *,
    weights: Sequence[float] | None = None,
    method: Method = "l2",
    temperature: float | None = None,
    batch: int = 16,
    device: torch.device | None = None,
    solver: FlowSolver | None = None,
    finder: PoseFinder | None = None,
    num_threads: int | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: Callable[[str], None] = lambda _: None,
) -> Prediction:
    """Score a video with one stream, or fuse those of several.

    Each stream sees the pictures that extraction would have stored, so the scores are those of `kinebert evaluate` on
    shards of the video. Pictures wait on the disk (TMPDIR); memory does not grow with the video's length.

    Args:
        path: Local path or URI.
        streams: At least one; all know the same classes.
        weights: Of the streams, as in :func:`kinebert.training.evaluation.fusion.fuse`.
        method: How fusion brings scores to one scale: ``l2`` or ``softmax``.
        temperature: What fused scores are divided by before their softmax gives probabilities; None for
            :func:`.calibration.own_temperature` of this video.
        batch: Views that are fed at once.
        device: Where the networks run; None for where they are.
        solver: Who solves flow.
        finder: Who finds people, for streams of poses.
        num_threads: Threads that torch may use; None leaves them as they are.
        max_pixels: Most pixels of one of its pictures as coded.
        progress: Told in words what is being done, often.

    Raises:
        VideoError: If the video cannot be used.
        UserError: If the streams do not fit each other.
    """
    whole: list[VideoScores] = []
    parts: list[VideoScores] = []
    windows: list[list[tuple[int, int]]] = []
    num_frames, problem = 0, None
    for stream in streams:
        with tempfile.TemporaryDirectory(prefix="kinebert-") as folder:
            done = [0]

            def beat(name: str = stream.modality, done: list[int] = done) -> None:
                done[0] += 1
                progress(f"{done[0]} images of {name}")

            poses, flow = finder or PoseFinder(), solver or FlowSolver()
            runs: list[Run] = []
            sets = []
            for extraction in stream.extractions:
                solved_by: Solver = poses if extraction.has_joints else flow
                place = join(folder, extraction.modality)
                make_folder(place)
                sets.append(
                    video_set(path, place, extraction, stream.classes, solved_by, beat, max_pixels, runs.append)
                )
            shards: OpenedSet = AlignedShards(sets) if len(sets) > 1 else sets[0]
            entry = shards.videos[0]
            settings: dict[str, Any] = {"device": device, "num_threads": num_threads, "inference": stream.inference}
            scorer = Scorer(stream.recognizer, shards, shards.videos, stream.data, stream.protocol, **settings)
            views = score_views(
                shards,
                shards.videos,
                replace(stream.data, split=""),
                stream.protocol,
                scorer,
                part="",
                batch=batch,
                progress=lambda n, total, name=stream.modality: progress(f"{n}/{total} views of {name}"),  # type: ignore[misc]
            )
        whole.append(average(views))
        parts.append(_by_clip(views))
        windows.append(_in_file(_frames_of(views, stream, entry.num_images), runs[0]))
        seen = runs[0].num_frames if runs[0].distinct else entry.num_frames * stream.extraction.frame_step
        num_frames, problem = max(num_frames, seen), problem or entry.problem
    fused = whole[0] if len(streams) == 1 else fuse(whole, weights, method).scores
    if len(streams) == 1:
        temperature = 1.0
    elif temperature is None:
        temperature = own_temperature(whole, weights, method)
    return Prediction(
        scores=fused.scores[0],
        scale=fused.scale,
        temperature=temperature,
        windows=windows[0],
        window_scores=_fused_windows(parts, windows, weights, method),
        num_frames=num_frames,
        problem=problem,
    )


def _extractions(info: CheckpointInfo, uri: str) -> tuple[FrameRecipe, ...]:
    """Return how the pictures of each modality that a checkpoint takes are made."""
    if len(streams_of(info.spec.modality)) == 1:
        return (extraction_of(info.recipe, info.digest, uri),)
    return tuple(extraction_of(plain, digest(plain), uri) for plain in info.recipe.values())


def calibration_of(streams: Sequence[Stream], weights: Sequence[float] | None, method: Method) -> Calibration:
    """Choose the temperature of a fusion on the scores of its streams' validation part, beside the checkpoints.

    Its temperature is None where there are none: every video then has its own.

    Raises:
        UserError: If a table of scores is damaged.
    """
    names = stream_names([stream.modality for stream in streams])
    known = find_all(
        [
            Wanted(
                stream=name,
                folder=stream.uri.rpartition("/")[0],
                checkpoint=checkpoint_digest(stream.uri),
                split=stream.data.split,
                part=stream.data.val_part,
                views=stream.protocol.name,
            )
            for name, stream in zip(names, streams, strict=True)
        ]
    )
    return calibrate([], weights, method, known.tables, known.why_not)


def check_streams(streams: Sequence[Stream]) -> None:
    """Raise a UserError if streams that are to be fused do not know the same classes."""
    for other in streams[1:]:
        if other.classes != streams[0].classes:
            raise UserError(
                f"{other.uri}: knows other classes than {streams[0].uri}. Fused streams are trained on the same ones."
            )


def _by_clip(views: ViewScores) -> VideoScores:
    """Average the crops of each clip: one row per clip."""
    num = int(views.clips.max()) + 1
    alone = replace(
        views,
        video_ids=[f"{i:09d}" for i in range(num)],
        labels=np.full(num, -1, np.int64),
        videos=views.clips,
        clips=np.zeros_like(views.clips),
    )
    return average(alone)


def _frames_of(views: ViewScores, stream: Stream, num_images: int) -> list[tuple[int, int]]:
    """First and last frame of every clip; flow between two frames counts as the first of them."""
    data, step = stream.data, stream.extraction.frame_step
    first = views.starts[np.unique(views.clips, return_index=True)[1]]
    if data.sampling == "sections":
        first, length = np.zeros_like(first), num_images
    else:
        length = span(data.clip_length, data.frame_interval) + data.flow_stack - 1
    return [(int(i) * step, min(int(i) + length, num_images) * step - 1) for i in first]


def _in_file(windows: list[tuple[int, int]], run: Run) -> list[tuple[int, int]]:
    """First and last frame of every clip as the file counts them, where repeats were dropped: a clip shows them too."""
    if not run.distinct:
        return windows
    starts = [*run.distinct, run.num_frames]
    return [(starts[first], starts[min(last, len(run.distinct) - 1) + 1] - 1) for first, last in windows]


def _fused_windows(
    parts: Sequence[VideoScores],
    windows: Sequence[Sequence[tuple[int, int]]],
    weights: Sequence[float] | None,
    method: Method,
) -> NDArray[np.float32]:
    """Scores of the first stream's windows, each fused with the windows of the others whose middles are nearest."""
    if len(parts) == 1:
        return parts[0].scores
    middles = [np.array(of, np.float64).mean(axis=1) for of in windows]
    nearest = []
    for part, middles_C in zip(parts, middles, strict=True):
        rows = np.abs(middles[0][:, None] - middles_C).argmin(axis=1)
        same = parts[0].video_ids
        nearest.append(
            replace(
                part, video_ids=same, scores=part.scores[rows], num_clips=part.num_clips[rows], labels=parts[0].labels
            )
        )
    return fuse(nearest, weights, method).scores.scores
