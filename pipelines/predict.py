"""Say what happens in new videos: with one trained recognizer, or with several streams fused.

kinebert predict VIDEOS --checkpoint runs/rgb/best.pt runs/flow/best.pt --views multi --annotate
"""

import csv
import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from kinebert.orchestration.jobs.requests import Views
from kinebert.orchestration.progress import ProgressLine
from kinebert.pipelines.options import run
from kinebert.preprocessing import storage
from kinebert.preprocessing.datasets.listing import VideoFolder
from kinebert.preprocessing.errors import ConfigError, VideoError
from kinebert.preprocessing.extraction.flow_solver import FlowSolver
from kinebert.preprocessing.machine import available_cores
from kinebert.preprocessing.modalities import modality_of
from kinebert.preprocessing.storage import check_writable, join, resolve_uri
from kinebert.preprocessing.tvl1 import Backend
from kinebert.preprocessing.video.probe import probe_video

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from kinebert.training.evaluation.predict import Prediction, Stream


_WRITE_EVERY_S = 30.0


@dataclass(frozen=True, kw_only=True)
class PredictConfig(Views):
    """Say what happens in new videos, over the whole of each and clip by clip.

    Frames are resized and flow is computed as for the checkpoints' training sets, so a video's scores are those that
    `kinebert evaluate` gives it. For long videos take every clip (--views multi) or a sliding window (--step N). Writes
    predictions.json and predictions.csv. Exit status: 0 done, 1 a video could not be read, 2 the command was wrong.
    """

    videos: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="VIDEO...")]
    """Video files, or folders of them (paths or URIs)."""
    checkpoint: Annotated[tuple[str, ...], tyro.conf.arg(metavar="CHECKPOINT...")]
    """best.pt of a training, or of one per stream: those are fused."""
    method: Literal["l2", "softmax"] = "l2"
    """How several streams are fused, see `kinebert fuse`."""
    weights: tuple[float, ...] | None = None
    """One weight per stream; by default all 1."""
    output: str = "predictions"
    """Folder for what is written."""
    annotate: bool = False
    """Write each video with its best classes below the picture, as MP4."""
    top: int = 5
    """Classes that are named."""
    batch: int = 16
    """Views that are fed at once."""
    device: str = "auto"
    """auto takes a GPU if there is one; or cpu, cuda, cuda:1."""
    backend: Backend = "auto"
    """Who solves flow: auto, numba, torch or opencv."""


def main(config: PredictConfig) -> int:
    """Look at every video, write what is said of it, and return the exit status."""
    if min(config.batch, config.top) < 1:
        raise ConfigError(f"batch and top must be at least 1, got {config.batch} and {config.top}.")
    if not config.videos:
        raise ConfigError("give a video, or a folder of videos.")
    if config.weights is not None and len(config.weights) != len(config.checkpoint):
        raise ConfigError(f"--weights takes one number per checkpoint ({len(config.checkpoint)}).")
    videos, output = _named(config.videos), resolve_uri(config.output)
    from kinebert.training.evaluation.predict import Stream, check_streams  # slow imports, after the quick refusals
    from kinebert.training.numerics import choose_device

    device = choose_device(config.device)
    streams = [Stream.load(resolve_uri(path), config.over) for path in config.checkpoint]
    check_streams(streams)
    _check_modalities(streams)
    check_writable(output)
    found: list[dict[str, Any]] = []
    written_at = time.monotonic()
    try:
        for number, (name, path) in enumerate(videos.items(), start=1):
            found.append(_look(name, path, f"{number}/{len(videos)} {name}", streams, config, device))
            if time.monotonic() - written_at >= _WRITE_EVERY_S:
                _write(output, found, streams, config)
                written_at = time.monotonic()
    finally:  # what was found before an end of any kind is kept
        if found:
            _write(output, found, streams, config)
    print(f"predictions: {join(output, 'predictions.json')}, predictions.csv")
    return 0 if all("top" in row for row in found) else 1


def _look(
    name: str, path: str, here: str, streams: Sequence["Stream"], config: PredictConfig, device: "torch.device"
) -> dict[str, Any]:
    """Predict, print and annotate one video; return what is written of it."""
    from kinebert.training.evaluation.predict import predict_video
    from kinebert.training.out_of_memory import LOWER_BATCH, memory_explained

    line = ProgressLine()
    try:
        with memory_explained(LOWER_BATCH):
            said = predict_video(
                path,
                streams,
                weights=config.weights,
                method=config.method,
                batch=config.batch,
                device=device,
                solver=FlowSolver(backend=config.backend, num_threads=available_cores()),
                num_threads=available_cores(),
                progress=_shown_on(line, here),
            )
    except VideoError as error:
        print(f"{name}: left out: {error.stage}: {error.problem}")
        return {"video": name, "path": path, "problem": f"{error.stage}: {error.problem}"}
    line.close(f"{here}: {said.num_frames} frames, {len(said.windows)} clips")
    fps = probe_video(path).fps
    row = _plain(name, path, said, streams[0].classes, config.top, fps)
    print(f"{name}: {_words(row['top'])}" + (f" ({said.problem})" if said.problem else ""))
    if config.annotate:
        _annotate(path, join(resolve_uri(config.output), f"{name}.mp4"), row, said, fps)
    return row


def _shown_on(line: ProgressLine, prefix: str) -> Callable[[str], None]:
    return lambda text: line.show(lambda: f"{prefix}: {text}")


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


def _check_modalities(streams: Sequence["Stream"]) -> None:
    for stream in streams:
        if not modality_of(stream.modality).from_video:
            raise ConfigError(
                f"{stream.uri}: takes {stream.modality}, which cannot be made from a video here. Extract it, and use "
                "`kinebert evaluate`."
            )


def _plain(name: str, path: str, said: "Prediction", classes: Sequence[str], top: int, fps: float) -> dict[str, Any]:
    """What is said of a video, as plain values."""
    windows = [
        {
            "first_frame": first,
            "last_frame": last,
            **({"start_s": first / fps, "end_s": (last + 1) / fps} if fps else {}),
            "top": _best(scores_K, said.scale, classes, top),
        }
        for (first, last), scores_K in zip(said.windows, said.window_scores, strict=True)
    ]
    return {
        "video": name,
        "path": path,
        "frames": said.num_frames,
        "fps": fps,
        **({"problem": said.problem} if said.problem else {}),
        "top": _best(said.scores, said.scale, classes, top),
        "scores": said.scores.tolist(),
        "windows": windows,
    }


def _best(scores_K: "NDArray[Any]", scale: str, classes: Sequence[str], top: int) -> list[dict[str, Any]]:
    """The best classes, best first, with their probability where the scores have one, else their score."""
    from kinebert.training.evaluation.metrics import probabilities

    values_K = probabilities(scores_K[None])[0] if scale == "logits" else scores_K
    key = "score" if scale == "sums" else "probability"
    order = sorted(range(len(values_K)), key=lambda k: (-scores_K[k], k))[:top]
    return [{"class": classes[k], key: float(values_K[k])} for k in order]


def _words(best: Sequence[dict[str, Any]]) -> str:
    return ", ".join(
        f"{one['class']} {one['probability']:.0%}" if "probability" in one else f"{one['class']} {one['score']:.2f}"
        for one in best[:3]
    )


def _annotate(path: str, target: str, row: dict[str, Any], said: "Prediction", fps: float) -> None:
    from kinebert.orchestration.reports.annotated_video import Window, annotate_video

    windows = [
        Window(
            window["first_frame"],
            window["last_frame"],
            tuple((one["class"], one.get("probability", one.get("score"))) for one in window["top"][:3]),
            said.scale != "sums",
        )
        for window in row["windows"]
    ]
    storage.make_folder(target.rpartition("/")[0])
    annotate_video(path, target, windows, fps)


def _write(output: str, found: Sequence[dict[str, Any]], streams: Sequence["Stream"], config: PredictConfig) -> None:
    """Write the table and the JSON file."""
    from kinebert.preprocessing.config import to_plain

    fused = {"method": config.method, "weights": config.weights} if len(streams) > 1 else {}
    about = [
        {"checkpoint": stream.uri, "modality": stream.modality, "protocol": to_plain(stream.protocol)}
        for stream in streams
    ]
    plain = {"streams": about, **fused, "classes": streams[0].classes, "videos": found}
    table = io.StringIO()
    writer = csv.writer(table)
    ranks = range(1, min(config.top, len(streams[0].classes)) + 1)
    writer.writerow(["video", "frames", *(f"{what}{k}" for k in ranks for what in ("class", "score")), "problem"])
    for row in found:
        best = [cell for one in row.get("top", ()) for cell in (one["class"], one.get("probability", one.get("score")))]
        best += [""] * (2 * len(ranks) - len(best))
        writer.writerow([row["video"], row.get("frames", ""), *best, row.get("problem", "")])
    with storage.explained(output, "write the predictions"):
        storage.write_bytes(join(output, "predictions.csv"), table.getvalue().encode())
        text = json.dumps(plain, indent=1, ensure_ascii=False) + "\n"
        storage.write_bytes(join(output, "predictions.json"), text.encode())


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, PredictConfig, args, "kinebert predict")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
