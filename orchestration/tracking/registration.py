"""A checkpoint becomes a registered model: in the MLflow run of its training, or in one that is made for it."""

import re
from dataclasses import dataclass

from kinebert.orchestration.tracking import logged_models
from kinebert.orchestration.tracking.lifecycle import running
from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.orchestration.tracking.run_tags import code_version
from kinebert.orchestration.tracking.store import choose_store
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.preprocessing.datasets.manifest import is_plain
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.storage import name_of, resolve_uri
from kinebert.training.checkpoints.recognizer import load_recognizer

_ALIAS = re.compile(r"[\w-]{1,255}")
_VERSION = re.compile(r"v\d+|latest", re.IGNORECASE)
"""Words that MLflow keeps for itself."""


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A version of a registered model."""

    name: str
    version: str
    model: str
    """Where MLflow loads it from: ``models:/...``."""
    address: RunAddress
    """The run that it belongs to."""
    recorded: bool
    """Whether MLflow has all that the run says."""


def check_names(name: str, alias: str | None) -> None:
    """Refuse names that MLflow would refuse after the work.

    Raises:
        ConfigError: If the name of the model or the alias is none.
    """
    if not name.strip() or set(name) & set("/:'\"") or not is_plain(name):
        raise ConfigError(f"--name {name!r}: a model's name is not empty and has no / : or quotes.")
    if alias is not None and (not _ALIAS.fullmatch(alias) or _VERSION.fullmatch(alias)):
        raise ConfigError(
            f"--alias {alias!r}: an alias is letters, digits, - and _, at most 255, and neither latest nor a version."
        )


def register(
    checkpoint: str, name: str, alias: str | None = None, tracking_uri: str | None = None, experiment: str = "kinebert"
) -> Registered:
    """Register a checkpoint as a new version of a model; the same one is registered once.

    Args:
        checkpoint: ``best.pt`` of a training (path or URI).
        name: Of the model.
        alias: That this version is to have; another loses it.
        tracking_uri: MLflow store where a run is made if none lies beside the checkpoint.
        experiment: Of that run.

    Raises:
        UserError: If it is no checkpoint, or MLflow refuses.
        ConfigError: If a name is none, or no run is known.
    """
    check_names(name, alias)
    uri = resolve_uri(checkpoint)
    load_recognizer(uri)  # what is no checkpoint is told before MLflow is asked for anything
    folder = uri.rpartition("/")[0]
    address, recorded = RunAddress.load(folder), True
    if address is None:
        if tracking_uri is None:
            raise ConfigError(f"{folder}: no MLflow run is known here. Say with --tracking-uri where to make one.")
        store = choose_store(tracking_uri, folder)
        tracker = Tracker.start(store, experiment, name_of(folder), code_version("register"))
        with running(tracker):
            version, model = logged_models.register(tracker.address, uri, name, alias)
        address, recorded = tracker.address, tracker.complete
    else:
        version, model = logged_models.register(address, uri, name, alias)
    return Registered(name=name, version=version, model=model, address=address, recorded=recorded)
