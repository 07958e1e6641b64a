"""Register a checkpoint as a model in MLflow, to be loaded elsewhere by name.

kinebert register runs/rgb/best.pt --name gestures
kinebert register runs/rgb/best.pt runs/flow/best.pt --name gestures
"""

import shlex
import sys
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from kinebert.orchestration.printing import say
from kinebert.orchestration.tracking.legal_names import check_model_names
from kinebert.pipelines.options import NOT_RECORDED, run
from kinebert.preprocessing.plain_text import json_text


@dataclass(frozen=True, kw_only=True)
class RegisterConfig:
    """Register a checkpoint, or a fusion of several, as a new version of a model in MLflow.

    mlflow.pyfunc.load_model loads it as what takes paths of videos, by the way of `kinebert predict`;
    mlflow.pytorch.load_model as the network alone, which takes clips, of one checkpoint. The same is registered once.
    """

    checkpoint: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="CHECKPOINT...")]
    """best.pt (or last.pt) of a training (path or URI), or of one per stream: those are fused."""
    name: Annotated[str, tyro.conf.arg(metavar="NAME")]
    """Name of the registered model."""
    alias: Annotated[str | None, tyro.conf.arg(metavar="ALIAS")] = None
    """Alias that this version is to have, such as champion; another version loses it."""
    method: Literal["l2", "softmax"] = "l2"
    """How several streams are fused, see `kinebert fuse`."""
    weights: tuple[float, ...] | None = None
    """One weight per stream; by default all 1."""
    tracking_uri: str | None = None
    """MLflow server, or file of a SQLite store, for a checkpoint without a run beside it; one is made for it there."""
    experiment: str = "kinebert"
    """MLflow experiment of that run, and of the one that is made for several checkpoints."""


def main(config: RegisterConfig) -> int:
    """Export, register, say how to load it, and return the exit status."""
    check_model_names(config.name, config.alias)
    from kinebert.orchestration.tracking.registration import register  # slow imports, after the quick refusals

    made = register(
        config.checkpoint,
        config.name,
        config.alias,
        config.tracking_uri,
        config.experiment,
        method=config.method,
        weights=config.weights,
    )
    say(*made.notes)
    alias = f", alias {config.alias}" if config.alias else ""
    say(f"{config.name}, version {made.version}: {made.model}{alias}")
    call = f"mlflow.pyfunc.load_model({json_text(made.model)}).predict("
    code = shlex.quote(f'import mlflow, pandas; print({call}pandas.DataFrame({{"video": ["VIDEO"]}})))')
    say(f"next: MLFLOW_TRACKING_URI={shlex.quote(made.address.tracking_uri)} python -c {code}")
    return 0 if made.recorded else NOT_RECORDED


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, RegisterConfig, args, "kinebert register")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
