"""Register a checkpoint as a model in MLflow, to be loaded elsewhere by name.

kinebert register runs/rgb/best.pt --name gestures
"""

import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from kinebert.orchestration.printing import say
from kinebert.pipelines.options import run
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.storage import name_of, resolve_uri


@dataclass(frozen=True, kw_only=True)
class RegisterConfig:
    """Register a checkpoint as a new version of a model in MLflow.

    mlflow.pyfunc.load_model loads it as what takes paths of videos, by the way of `kinebert predict`;
    mlflow.pytorch.load_model as the network alone, which takes clips. The same checkpoint is registered once.
    """

    checkpoint: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="CHECKPOINT")]
    """best.pt (or last.pt) of a training (path or URI)."""
    name: Annotated[str, tyro.conf.arg(metavar="NAME")]
    """Name of the registered model."""
    alias: Annotated[str | None, tyro.conf.arg(metavar="ALIAS")] = None
    """Alias that this version is to have, such as champion; another version loses it."""
    tracking_uri: str | None = None
    """MLflow server, or file of a SQLite store, for a checkpoint without a run beside it; one is made for it there."""
    experiment: str = "kinebert"
    """MLflow experiment of that run."""


def main(config: RegisterConfig) -> int:
    """Export, register, say how to load it, and return the exit status."""
    if not config.name or set(config.name) & set("/:'\""):
        raise ConfigError(f"--name {config.name!r}: a model's name is not empty and has no / : or quotes.")
    uri = resolve_uri(config.checkpoint)
    from kinebert.orchestration import mlflow_models, run_tags, tracking, tracking_store  # slow imports
    from kinebert.training.checkpoints.recognizer import load_recognizer

    load_recognizer(uri)  # what is no checkpoint is told before MLflow is asked for anything
    folder = uri.rpartition("/")[0]
    address = tracking.RunAddress.load(folder)
    if address is None:
        if config.tracking_uri is None:
            raise ConfigError(f"{folder}: no MLflow run is known here. Say with --tracking-uri where to make one.")
        store = tracking_store.choose_store(config.tracking_uri, folder)
        tags = run_tags.code_version("register")
        tracker = tracking.Tracker.start(store, config.experiment, name_of(folder), tags)
        with tracking.running(tracker):
            version, model = mlflow_models.register(tracker.address, uri, config.name, config.alias)
        address = tracker.address
    else:
        version, model = mlflow_models.register(address, uri, config.name, config.alias)
    say(f"{config.name}, version {version}: {model}" + (f", alias {config.alias}" if config.alias else ""))
    call = f"mlflow.pyfunc.load_model('{model}').predict(" + "pandas.DataFrame({'video': ['VIDEO']}))"
    say(f'next: MLFLOW_TRACKING_URI={address.tracking_uri} python -c "import mlflow, pandas; print({call})"')
    return 0


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, RegisterConfig, args, "kinebert register")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
