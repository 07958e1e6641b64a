"""Register a checkpoint as a model in MLflow, to be loaded elsewhere by name.

kinebert register runs/rgb/best.pt --name gestures
"""

import re
import shlex
import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from kinebert.orchestration.printing import say
from kinebert.pipelines.options import NOT_RECORDED, run
from kinebert.preprocessing.datasets.manifest import is_plain
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.plain_text import json_text
from kinebert.preprocessing.storage import name_of, resolve_uri

_ALIAS = re.compile(r"[\w-]{1,255}")
_VERSION = re.compile(r"v\d+|latest", re.IGNORECASE)
"""Words that MLflow keeps for itself."""


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
    _check_names(config)
    uri = resolve_uri(config.checkpoint)
    from kinebert.orchestration.tracking import logged_models  # slow imports
    from kinebert.orchestration.tracking.lifecycle import running
    from kinebert.orchestration.tracking.run_address import RunAddress
    from kinebert.orchestration.tracking.run_tags import code_version
    from kinebert.orchestration.tracking.store import choose_store
    from kinebert.orchestration.tracking.tracker import Tracker
    from kinebert.training.checkpoints.recognizer import load_recognizer

    load_recognizer(uri)  # what is no checkpoint is told before MLflow is asked for anything
    folder = uri.rpartition("/")[0]
    address, recorded = RunAddress.load(folder), True
    if address is None:
        if config.tracking_uri is None:
            raise ConfigError(f"{folder}: no MLflow run is known here. Say with --tracking-uri where to make one.")
        store = choose_store(config.tracking_uri, folder)
        tags = code_version("register")
        tracker = Tracker.start(store, config.experiment, name_of(folder), tags)
        with running(tracker):
            version, model = logged_models.register(tracker.address, uri, config.name, config.alias)
        address, recorded = tracker.address, tracker.complete
    else:
        version, model = logged_models.register(address, uri, config.name, config.alias)
    say(f"{config.name}, version {version}: {model}" + (f", alias {config.alias}" if config.alias else ""))
    call = f"mlflow.pyfunc.load_model({json_text(model)}).predict("
    code = shlex.quote(f'import mlflow, pandas; print({call}pandas.DataFrame({{"video": ["VIDEO"]}})))')
    say(f"next: MLFLOW_TRACKING_URI={shlex.quote(address.tracking_uri)} python -c {code}")
    return 0 if recorded else NOT_RECORDED


def _check_names(config: RegisterConfig) -> None:
    """Refuse names that MLflow would refuse after the work."""
    if not config.name.strip() or set(config.name) & set("/:'\"") or not is_plain(config.name):
        raise ConfigError(f"--name {config.name!r}: a model's name is not empty and has no / : or quotes.")
    alias = config.alias
    if alias is not None and (not _ALIAS.fullmatch(alias) or _VERSION.fullmatch(alias)):
        raise ConfigError(
            f"--alias {alias!r}: an alias is letters, digits, - and _, at most 255, and neither latest nor a version."
        )


def cli(args: list[str]) -> int:
    """Run the program with command-line ``args`` and return its exit status."""
    return run(main, RegisterConfig, args, "kinebert register")


if __name__ == "__main__":
    sys.exit(cli(sys.argv[1:]))
