"""Trained recognizers as MLflow models: they say what goes in and what comes out, and load where kinebert is installed.

A model's ``python_function`` takes paths of videos and goes the way of `kinebert predict`. One that is registered has
``pytorch`` beside it: the network alone as an exported program, which takes clips. Both lie in one folder.
"""

import json
import platform
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Literal

import mlflow
import torch
from mlflow.entities import LoggedModelOutput
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from kinebert.orchestration.printing import warn
from kinebert.orchestration.tracking.model_cards import ModelCard, fusion_card, model_card, takes_videos
from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.orchestration.tracking.store import connect, explained
from kinebert.orchestration.tracking.video_model import FusedStreams
from kinebert.preprocessing import storage
from kinebert.preprocessing.errors import UserError
from kinebert.preprocessing.plain_text import json_text
from kinebert.preprocessing.private_folder import keep_compiled_code
from kinebert.training.checkpoints.recognizer import CheckpointInfo, load_recognizer
from kinebert.training.evaluation.evaluate import recipe_of
from kinebert.training.models import Recognizer
from kinebert.training.run_folder import checkpoint_digest

FOLDER = "model"
CHECKPOINT = "checkpoint.pt"
FUSION = "fusion"
"""Folder of the checkpoints that a fused model is made of."""
LABELS = "labels.json"
_NOT_KNOWN = "ENDPOINT_NOT_FOUND"
_PACKAGES = ("kinebert", "mlflow", "torch", "av", "opencv-contrib-python-headless", "pyarrow", "numpy")
_LOADER = "kinebert.orchestration.tracking.video_model"


@dataclass(frozen=True)
class Logged:
    """Where a checkpoint lies as a model in MLflow."""

    uri: str
    """What ``mlflow.pyfunc.load_model`` takes."""
    model_id: str
    is_new: bool
    """False if the run had the same weights as a model already."""


def log_model(address: RunAddress, checkpoint: str, *, with_network: bool = False) -> Logged:
    """Log a checkpoint as a model of an MLflow run, unless the run has it as one.

    Args:
        address: The run.
        checkpoint: Path or URI.
        with_network: Export the network as well (tens of seconds), for ``mlflow.pytorch.load_model``.

    Raises:
        UserError: If it is no checkpoint, or MLflow refuses.
    """
    recognizer, info = load_recognizer(checkpoint)
    client, digest = connect(address.tracking_uri), checkpoint_digest(checkpoint)
    name = storage.name_of(checkpoint).partition(".")[0]
    tags = {"checkpoint": digest, "flavors": "pyfunc + pytorch" if with_network else "pyfunc"}
    with explained(address.tracking_uri):
        known = _known(client, address.run_id, tags)
        if known is not None:
            return Logged(f"models:/{known}", known, False)
        about = _about(checkpoint, recognizer, info)

        def write(folder: Path, described: Model) -> None:
            write_model(folder, checkpoint, recognizer, info, described, with_network)

        model_id = _log(client, address, name, tags, about, info.classes, write)
        client.log_outputs(address.run_id, [LoggedModelOutput(model_id, step=info.epoch)])
        for key, value in info.metrics.items():
            if isinstance(value, (int, float)):
                client.log_metric(address.run_id, f"model/{key}", value, step=info.epoch, model_id=model_id)
    return Logged(f"models:/{model_id}", model_id, True)


def _log(
    client: MlflowClient,
    address: RunAddress,
    name: str,
    tags: dict[str, str],
    about: dict[str, str],
    classes: Sequence[str],
    write: Callable[[Path, Model], None],
) -> str:
    """Log a model of a run, whose folder is made by ``write``; return its id."""
    run = client.get_run(address.run_id)
    model = client.create_logged_model(
        run.info.experiment_id, name, address.run_id, tags=tags, params=about, model_type=about["model"]
    )
    status: Literal["READY", "FAILED"] = "FAILED"
    try:
        with tempfile.TemporaryDirectory(prefix="kinebert-") as folder:
            described = Model(
                artifact_path=model.artifact_location,
                run_id=address.run_id,
                model_id=model.model_id,
                metadata={**about, "labels": list(classes)},
            )
            write(Path(folder) / FOLDER, described)
            client.log_model_artifacts(model.model_id, str(Path(folder) / FOLDER))
        status = "READY"
    finally:
        client.finalize_logged_model(model.model_id, status)
    return str(model.model_id)


def keep_models(address: RunAddress, checkpoints: Sequence[str]) -> bool:
    """Log a training's checkpoints as models of its run, each once; return whether MLflow took them, or say if not.

    A server of a version that knows no such models has the files as artifacts alone, which is said and is nothing lost.
    """
    try:
        for checkpoint in checkpoints:
            log_model(address, checkpoint)
    except UserError as error:
        if isinstance(cause := error.__context__, MlflowException) and cause.error_code == _NOT_KNOWN:
            warn("this MLflow server is too old to know models of runs; checkpoints are kept as files")
            return True
        warn(f"MLflow did not take the model: {error}")
        return False
    return True


def register(address: RunAddress, checkpoint: str, name: str, alias: str | None = None) -> tuple[str, str]:
    """Make a checkpoint a new version of a registered model, or find the version that it is.

    Returns:
        The version, and its URI.

    Raises:
        UserError: If it is no checkpoint, its network cannot be exported, or MLflow refuses.
    """
    logged = log_model(address, checkpoint, with_network=True)
    recognizer, info = load_recognizer(checkpoint)
    about = _about(checkpoint, recognizer, info)
    model = recipe_of(checkpoint, info).model
    card = model_card(checkpoint, about, info.classes, model, takes_videos=takes_videos(checkpoint, info))
    return _version(address, logged, card, name, alias)


def register_fusion(address: RunAddress, fused: FusedStreams, name: str, alias: str | None = None) -> tuple[str, str]:
    """Make several checkpoints, fused, a new version of a registered model, or find the version that they are.

    It has no network alone: what is registered takes paths of videos.

    Returns:
        The version, and its URI.

    Raises:
        UserError: If one is no checkpoint, they know different classes, or MLflow refuses.
    """
    client, tags = connect(address.tracking_uri), {"checkpoint": fused.digest(), "flavors": "pyfunc"}
    read = {uri: load_recognizer(uri) for uri in fused.streams}
    abouts = [_about(uri, recognizer, info) for uri, (recognizer, info) in read.items()]
    info = read[fused.streams[0]][1]
    how = f"{fused.method}, weights {', '.join(f'{weight:g}' for weight in fused.weights or [1] * len(read))}"
    about = {key: ", ".join(of[key] for of in abouts) for key in ("model", "modality", "test", "shards_digest")}
    about |= {"classes": abouts[0]["classes"], "fusion": how, "probabilities": fused.calibration.sentence()}

    def write(folder: Path, described: Model) -> None:
        fused.write(folder / FUSION)
        _finish(folder, FUSION, info.classes, described, _pins(*(found for _, found in read.values())))

    with explained(address.tracking_uri):
        known = _known(client, address.run_id, tags)
        model_id = known or _log(client, address, FUSION, tags, about, info.classes, write)
        if known is None:
            client.log_outputs(address.run_id, [LoggedModelOutput(model_id, step=0)])
    logged = Logged(f"models:/{model_id}", model_id, known is None)
    return _version(address, logged, fusion_card(about, info.classes, fused.digest()), name, alias)


def run_of_fusion(tracking_uri: str, experiment: str, fused: FusedStreams, name: str) -> RunAddress | None:
    """Return the run whose model is a version of ``name`` already, of the same checkpoints in the same fusion."""
    client = connect(tracking_uri)
    with explained(tracking_uri):
        versions = client.search_model_versions(f"name = '{name}'")
    runs = [found.run_id for found in versions if found.tags.get("fusion") == fused.digest() and found.run_id]
    return RunAddress(tracking_uri, experiment, runs[0]) if runs else None


def _version(address: RunAddress, logged: Logged, card: ModelCard, name: str, alias: str | None) -> tuple[str, str]:
    """Find the version of a registered model that a logged one is, or make it; describe it and give it the alias."""
    client = connect(address.tracking_uri)
    with explained(address.tracking_uri), _present_store(address.tracking_uri):
        if not any(model.name == name for model in client.search_registered_models(f"name = '{name}'")):
            client.create_registered_model(name)
        known = client.search_model_versions(f"name = '{name}'")
        same = [found for found in known if found.source == logged.uri]
        made = same[0] if same else _new_version(client, name, logged, address.run_id)
        _describe(client, made, card)
        if alias is not None:
            client.set_registered_model_alias(name, alias, made.version)
    return str(made.version), f"models:/{name}/{made.version}"


def _describe(client: MlflowClient, made: ModelVersion, card: ModelCard) -> None:
    """Say on the version's page what it is; on the model's page only where nobody has written anything."""
    client.update_model_version(made.name, made.version, card.text)
    for key, value in card.tags.items():
        client.set_model_version_tag(made.name, made.version, key, value)
    if not client.get_registered_model(made.name).description:
        client.update_registered_model(made.name, card.text)


def _new_version(client: MlflowClient, name: str, logged: Logged, run_id: str) -> ModelVersion:
    made = client.create_model_version(name, logged.uri, run_id, model_id=logged.model_id)
    versions = json.loads(client.get_logged_model(logged.model_id).tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
    versions.append({"name": name, "version": made.version})  # what the model's page says of it
    client.set_logged_model_tags(logged.model_id, {MLFLOW_MODEL_VERSIONS: json.dumps(versions)})
    return made


def write_model(
    folder: Path, checkpoint: str, recognizer: Recognizer, info: CheckpointInfo, model: Model, with_network: bool
) -> None:
    """Write the folder of a model: the checkpoint, its labels, and what MLflow must know."""
    pins = _pins(info)
    if with_network:
        _export(folder, recognizer, model, pins)
    folder.mkdir(exist_ok=True)
    (folder / CHECKPOINT).write_bytes(storage.read_bytes(checkpoint))
    _finish(folder, CHECKPOINT, info.classes, model, pins)


def _pins(*infos: CheckpointInfo) -> list[str]:
    """What has to be installed where it is loaded; with the extra for people, where one of them looks for people."""
    extra = "[pose]" * any(info.recipe.get("backend") for info in infos)
    return [f"{name}{extra * (name == _PACKAGES[0])}=={version(name)}" for name in _PACKAGES]


def _finish(folder: Path, data: str, classes: Sequence[str], model: Model, pins: Sequence[str]) -> None:
    """Write what MLflow must know of a model whose ``data``, a file or folder, lies in its folder."""
    import mlflow.pyfunc  # slow

    (folder / LABELS).write_text(f"{json_text(list(classes), indent=1)}\n")
    model.signature = _signature()
    model.saved_input_example_info = None  # type: ignore[assignment]  # of the exported network, not of videos
    model.flavors.pop("python_function", None)
    mlflow.pyfunc.add_to_model(model, _LOADER, data=data, python_env="python_env.yaml")
    model.save(str(folder / "MLmodel"))
    (folder / "requirements.txt").write_text("\n".join(pins) + "\n")
    environment = {"python": platform.python_version(), "dependencies": ["-r requirements.txt"]}
    (folder / "python_env.yaml").write_text(json.dumps(environment))


def _export(folder: Path, recognizer: Recognizer, model: Model, pins: list[str]) -> None:
    """Let MLflow write the network as an exported program that takes any number of clips."""
    import mlflow.pytorch

    keep_compiled_code()
    clips = torch.zeros(2, *_clip_shape(recognizer))
    try:
        with _quiet():
            mlflow.pytorch.save_model(
                recognizer.eval(),
                str(folder),
                mlflow_model=model,
                input_example=clips.numpy(),
                pip_requirements=pins,
                serialization_format="pt2",
            )
    except Exception as error:  # torch.export raises what it likes
        raise UserError(f"the network cannot be exported: {str(error).splitlines()[0][:300]}") from error
    for name in ("input_example.json", "serving_input_example.json", "conda.yaml"):
        (folder / name).unlink(missing_ok=True)  # the clips as text would be larger than the network


def _clip_shape(recognizer: Recognizer) -> tuple[int, int, int, int]:
    """Channels, images, height and width of the clips that it was trained on."""
    spec = recognizer.spec
    return len(spec.mean), spec.num_frames, spec.crop_size, spec.crop_size


def _about(checkpoint: str, recognizer: Recognizer, info: CheckpointInfo) -> dict[str, str]:
    """What a model's page shows of it."""
    recipe = recipe_of(checkpoint, info)
    channels, length, height, width = _clip_shape(recognizer)
    return {
        "model": f"{recipe.model.backbone} + {recipe.model.head}",
        "modality": recognizer.spec.modality,
        "clips": f"float32 (N, {channels}, {length}, {height}, {width})",
        "mean": str([round(float(value), 6) for value in recognizer.spec.mean]),
        "std": str([round(float(value), 6) for value in recognizer.spec.std]),
        "classes": str(len(info.classes)),
        "test": recipe.test.describe(),
        "epoch": str(info.epoch),
        "shards_digest": info.digest,
    }


def _signature() -> ModelSignature:
    inputs = Schema([ColSpec(DataType.string, "video")])
    outputs = [("video", DataType.string), ("label", DataType.string), ("probability", DataType.double)]
    columns = [ColSpec(kind, name) for name, kind in outputs]
    return ModelSignature(inputs, Schema([*columns, ColSpec(Array(DataType.double), "probabilities")]))


def _known(client: MlflowClient, run_id: str, tags: dict[str, str]) -> str | None:
    outputs = client.get_run(run_id).outputs
    for output in outputs.model_outputs if outputs else []:
        model = client.get_logged_model(output.model_id)
        if str(model.status) in ("READY", "LoggedModelStatus.READY") and tags.items() <= model.tags.items():
            return str(output.model_id)
    return None


@contextmanager
def _present_store(tracking_uri: str) -> Iterator[None]:
    """Make a store the one that MLflow takes where it asks nobody: a file's registry looks for models in that one."""
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None  # type: ignore[no-untyped-call]
    mlflow.set_tracking_uri(tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None: as if nobody had ever chosen one


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what exporting says to itself."""
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        yield
