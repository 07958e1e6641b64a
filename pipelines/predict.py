"""Say what happens in new videos: with one trained recognizer, or with several streams fused.

kinebert predict VIDEOS --checkpoint runs/rgb/best.pt runs/flow/best.pt --views multi --annotate
"""

import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from kinebert.orchestration.audience import Terminal
from kinebert.orchestration.jobs.requests import PredictionRequest
from kinebert.orchestration.printing import say
from kinebert.pipelines.options import run


@dataclass(frozen=True, kw_only=True)
class PredictConfig(PredictionRequest):
    """Say what happens in new videos, over the whole of each and clip by clip.

    Frames are resized and flow is computed as for the checkpoints' training sets, so a video's scores are those that
    `kinebert evaluate` gives it. For long videos take every clip (--views multi) or a sliding window (--step N). Writes
    predictions.json and predictions.csv. Exit status: 0 done, 1 a video could not be read, 2 the command was wrong.
    """

    videos: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="VIDEO...")]
    """Video files, or folders of them (paths or URIs)."""
    checkpoint: Annotated[tuple[str, ...], tyro.conf.arg(metavar="CHECKPOINT...")]
    """best.pt of a training, or of one per stream: those are fused."""


def main(config: PredictConfig) -> int:
    """Look at every video, say where it is written, and return the exit status."""
    from kinebert.orchestration.jobs.prediction import predict  # slow imports, after the options are known to be right

    result = predict(config, Terminal())
    say(f"predictions: {', '.join(result.files)}")
    return 0 if result.complete else 1


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, PredictConfig, args, "kinebert predict")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
