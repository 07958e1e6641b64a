"""Checkpoints become a registered model: in the MLflow run of their training, or in one that is made for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from kinebert.orchestration.tracking import logged_models
from kinebert.orchestration.tracking.legal_names import check_model_names
from kinebert.orchestration.tracking.lifecycle import running
from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.orchestration.tracking.run_tags import code_version
from kinebert.orchestration.tracking.store import choose_store
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.orchestration.tracking.video_model import FusedStreams
from kinebert.preprocessing.errors import ConfigError
from kinebert.preprocessing.storage import name_of, resolve_uri
from kinebert.training.checkpoints.recognizer import load_recognizer
from kinebert.training.evaluation.fusion import Method
from kinebert.training.evaluation.predict import Stream, calibration_of, check_streams


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
    notes: tuple[str, ...] = ()
    """Of a fusion how its scores are probabilities."""


def register(
    checkpoint: str | Sequence[str],
    name: str,
    alias: str | None = None,
    tracking_uri: str | None = None,
    experiment: str = "kinebert",
    *,
    method: Method = "l2",
    weights: Sequence[float] | None = None,
) -> Registered:
    """Register a checkpoint, or several fused, as a new version of a model; the same is registered once.

    Args:
        checkpoint: ``best.pt`` of a training (path or URI), or of one per stream.
        name: Of the model.
        alias: That this version is to have; another loses it.
        tracking_uri: MLflow store where a run is made if none lies beside the checkpoint. Several have a run of their
            own, by default in the store of the first one's.
        experiment: Of that run.
        method: How several are fused.
        weights: Of several; all 1 if not given.

    Raises:
        UserError: If one is no checkpoint, they know different classes, or MLflow refuses.
        ConfigError: If a name is none, no run is known, or there are not as many weights as checkpoints.
    """
    check_model_names(name, alias)
    uris = [resolve_uri(one) for one in ([checkpoint] if isinstance(checkpoint, str) else checkpoint)]
    if not uris:
        raise ConfigError("give the checkpoint of a training, such as runs/rgb/best.pt.")
    if weights is not None and len(weights) != len(uris):
        raise ConfigError(f"--weights takes one number per checkpoint ({len(uris)}).")
    for uri in uris:
        load_recognizer(uri)  # what is no checkpoint is told before MLflow is asked for anything
    folder = uris[0].rpartition("/")[0]
    address = RunAddress.load(folder)
    if address is None and tracking_uri is None:
        raise ConfigError(f"{folder}: no MLflow run is known here. Say with --tracking-uri where to make one.")
    if len(uris) == 1:
        ask = partial(logged_models.register, checkpoint=uris[0], name=name, alias=alias)
        store = tracking_uri if address is None else None
        return _registered(name, ask, address, (store, experiment, name_of(folder), folder))
    fused = _fusion(uris, method, weights)
    store = choose_store(tracking_uri or (address.tracking_uri if address is not None else None), folder)
    known = logged_models.run_of_fusion(store, experiment, fused, name)
    ask = partial(logged_models.register_fusion, fused=fused, name=name, alias=alias)
    made = _registered(name, ask, known, (store, experiment, name, folder))
    return replace(made, notes=(fused.calibration.sentence(),))


def _registered(
    name: str,
    ask: Callable[[RunAddress], tuple[str, str]],
    address: RunAddress | None,
    run: tuple[str | None, str, str, str],
) -> Registered:
    """Register in the run that there is, or in one that is made: in a store, an experiment, by a name, for a folder."""
    recorded = True
    if address is None:
        store, experiment, run_name, folder = run
        tracker = Tracker.start(choose_store(store, folder), experiment, run_name, code_version("register"))
        with running(tracker):
            version, model = ask(tracker.address)
        address, recorded = tracker.address, tracker.complete
    else:
        version, model = ask(address)
    return Registered(name=name, version=version, model=model, address=address, recorded=recorded)


def _fusion(uris: Sequence[str], method: Method, weights: Sequence[float] | None) -> FusedStreams:
    """Choose the temperature at which streams that know the same classes are one model."""
    streams = [Stream.load(uri) for uri in uris]
    check_streams(streams)
    calibration = calibration_of(streams, weights, method)
    each = None if weights is None else tuple(weights)
    return FusedStreams(streams=tuple(uris), method=method, weights=each, calibration=calibration)
