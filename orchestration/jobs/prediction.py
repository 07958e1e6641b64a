"""Prediction as a job: say what happens in new videos, over the whole of each and clip by clip."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from kinebert.orchestration.audience import NOBODY, Audience, Line
from kinebert.orchestration.jobs.requests import PredictionRequest
from kinebert.orchestration.reports.predictions import (
    JSON_FILE,
    TABLE_FILE,
    PredictionRow,
    annotate,
    row_of,
    words,
    write_predictions,
)
from kinebert.preprocessing import storage
from kinebert.preprocessing.datasets.listing import VideoFolder
from kinebert.preprocessing.errors import ConfigError, VideoError
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.extraction.pose_finder import PoseFinder
from kinebert.preprocessing.machine import available_cores
from kinebert.preprocessing.recipe import PoseRecipe
from kinebert.preprocessing.storage import check_writable, join, resolve_uri
from kinebert.preprocessing.video.probe import probe_video
from kinebert.training.evaluation.calibration import Calibration
from kinebert.training.evaluation.predict import Prediction, Stream, calibration_of, check_streams, predict_video
from kinebert.training.numerics import choose_device
from kinebert.training.out_of_memory import LOWER_BATCH, memory_explained

_WRITE_EVERY_S = 30.0


@dataclass(frozen=True)
class PredictionResult:
    """What was said of the videos."""

    folder: str
    """Where ``predictions.json`` and ``predictions.csv`` are."""
    classes: tuple[str, ...]
    """That the recognizers know, in the order of scores."""
    rows: tuple[PredictionRow, ...]
    """One for each video, as in the JSON file."""

    @property
    def complete(self) -> bool:
        """Whether every video could be read."""
        return all("top" in row for row in self.rows)

    @property
    def files(self) -> tuple[str, str]:
        """Path or URI of the JSON file, and the name of the table beside it."""
        return join(self.folder, JSON_FILE), TABLE_FILE


def predict(request: PredictionRequest, audience: Audience = NOBODY) -> PredictionResult:
    """Look at every video and write what is said of it; one that cannot be read is left out, with its problem.

    What was found is kept when this ends early, whatever the reason.

    Raises:
        UserError: If a video or checkpoint is not there, the streams do not fit each other, or the folder cannot be
            written.
    """
    videos, output = _named(request.videos), resolve_uri(request.output)
    device = choose_device(request.device)
    streams = [Stream.load(resolve_uri(path), request.over) for path in request.checkpoint]
    check_streams(streams)
    _check_modalities(streams)
    finder = PoseFinder(num_threads=available_cores(), on_gpu=device.type == "cuda", folder=request.pose_weights)
    for extraction in [one for stream in streams for one in stream.extractions]:
        if isinstance(extraction, PoseRecipe) and extraction.has_joints:
            finder.check(extraction)
    check_writable(output)
    calibration = calibration_of(streams, request.weights, request.method) if len(streams) > 1 else None
    fused: dict[str, Any] = {}
    if calibration is not None:
        fused = {"method": request.method, "weights": request.weights, "calibration": asdict(calibration)}
        audience.say(calibration.sentence())
    found: list[PredictionRow] = []
    written_at = time.monotonic()
    try:
        for number, (name, path) in enumerate(videos.items(), start=1):
            shown = _Shown(audience.line(), f"{number}/{len(videos)} {name}")
            said = _look(path, streams, request, calibration, device, finder, shown)
            found.append(_told(name, path, said, streams[0], request, audience))
            if time.monotonic() - written_at >= _WRITE_EVERY_S:
                write_predictions(output, found, streams, request.top, fused)
                written_at = time.monotonic()
    finally:  # what was found before an end of any kind is kept
        if found:
            write_predictions(output, found, streams, request.top, fused)
    return PredictionResult(output, streams[0].classes, tuple(found))


class _Shown:
    """The progress of one video, after its place and name."""

    def __init__(self, line: Line, prefix: str) -> None:
        self._line, self._prefix = line, prefix

    def __call__(self, text: str) -> None:
        self._line.show(lambda: f"{self._prefix}: {text}")

    def close(self, text: str) -> None:
        self._line.close(f"{self._prefix}: {text}")


def _look(
    path: str,
    streams: Sequence[Stream],
    request: PredictionRequest,
    calibration: Calibration | None,
    device: torch.device,
    finder: PoseFinder,
    shown: _Shown,
) -> Prediction | VideoError:
    """Predict one video; return what is wrong with it if it cannot be read."""
    try:
        with memory_explained(LOWER_BATCH):
            said = predict_video(
                path,
                streams,
                weights=request.weights,
                method=request.method,
                temperature=None if calibration is None else calibration.temperature,
                batch=request.batch,
                device=device,
                solver=FlowSolver(backend=request.backend, num_threads=available_cores()),
                finder=finder,
                num_threads=available_cores(),
                max_pixels=request.max_pixels,
                progress=shown,
            )
    except VideoError as error:
        return error
    shown.close(f"{said.num_frames} frames, {len(said.windows)} clips")
    return said


def _told(
    name: str,
    path: str,
    said: Prediction | VideoError,
    stream: Stream,
    request: PredictionRequest,
    audience: Audience,
) -> PredictionRow:
    """Tell and annotate what was said of one video; return what is written of it."""
    if isinstance(said, VideoError):
        problem = f"{said.stage}: {said.problem}"
        audience.say(f"{name}: left out: {problem}")
        return {"video": name, "path": path, "problem": problem}
    video_stream = stream.extraction.video_stream
    facts = probe_video(path, video_stream, request.max_pixels)
    if facts.num_streams > 1:
        taken = "the default one, else the largest" if video_stream is None else f"number {video_stream}"
        audience.say(f"{name}: of {facts.num_streams} video streams, {taken} is taken")
    row = row_of(name, path, said, stream.classes, request.top, facts.fps)
    audience.say(f"{name}: {words(row['top'])}" + (f" ({said.problem})" if said.problem else ""))
    if request.annotate:
        target = join(resolve_uri(request.output), f"{name}.mp4")
        annotate(target, row, stream.classes, video_stream=video_stream, max_pixels=request.max_pixels)
    return row


def _named(paths: Sequence[str]) -> dict[str, str]:
    """Locations of all videos by a name that is theirs alone: the file's, without its extension."""
    files: list[tuple[str, str]] = []
    for given in paths:
        uri = resolve_uri(given)
        if not storage.exists(uri):
            raise ConfigError(f"{uri}: there is no such video or folder.")
        if storage.is_folder(uri):
            folder = VideoFolder(uri)
            files += [(str(PurePosixPath(file).with_suffix("")), folder.location(file)) for file in folder.files]
        else:
            files.append((Path(storage.name_of(uri)).stem, uri))
    named: dict[str, str] = {}
    for name, uri in files:
        own, number = name, 2
        while own in named:
            own, number = f"{name}-{number}", number + 1
        named[own] = uri
    return named


def _check_modalities(streams: Sequence[Stream]) -> None:
    for stream in streams:
        if not all(extraction.from_video for extraction in stream.extractions):
            raise ConfigError(
                f"{stream.uri}: takes {stream.modality}, which cannot be made from a video here. Extract it, and use "
                "`kinebert evaluate`."
            )
