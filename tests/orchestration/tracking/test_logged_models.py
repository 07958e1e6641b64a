"""Checkpoints as MLflow models: what their pages say, and that they load and say what the programs say."""

import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND
from mlflow.tracking import MlflowClient

from kinebert.orchestration.tracking import logged_models as register_of_models
from kinebert.orchestration.tracking.logged_models import keep_models, log_model, write_model
from kinebert.orchestration.tracking.run_address import RunAddress
from kinebert.orchestration.tracking.tracker import Tracker
from kinebert.pipelines import predict, register
from kinebert.pipelines.options import NOT_RECORDED
from kinebert.preprocessing.extraction.pose_finder import PoseFinder
from kinebert.preprocessing.recipe import FrameRecipe, PoseRecipe
from kinebert.preprocessing.sets.reader import ShardSet
from kinebert.training.checkpoints.recognizer import load_recognizer
from kinebert.training.evaluation.evaluate import VideoScores, write_scores
from kinebert.training.evaluation.view_scores import About
from kinebert.training.recipe.train import ProtocolRecipe
from kinebert.training.run_folder import checkpoint_digest, kept_recognizers
from tests.helpers.checkpoints import make_checkpoint
from tests.helpers.poses import SHA256, bright_backend, write_weights
from tests.helpers.sets import make_rows, make_set


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    folder = tmp_path_factory.mktemp("models")
    rows = make_rows(folder / "videos", [9, 12, 8])
    return make_set(rows, folder / "sets" / "rgb", FrameRecipe(resize="none"))


@pytest.fixture
def run(shards: ShardSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a training, with its checkpoint and its MLflow run."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    make_checkpoint(tmp_path / "run" / "best.pt", shards, ProtocolRecipe(clips="multi"))
    tracker = Tracker.start(f"sqlite:///{tmp_path}/mlflow.db", "kinebert", "run", {})
    tracker.address.save(str(tmp_path / "run"))
    tracker.dataset(shards, {"training": "split1/train", "validation": "split1/val"})
    tracker.end("FINISHED")
    return tmp_path / "run"


def address_of(run: Path) -> RunAddress:
    address = RunAddress.load(str(run))
    assert address is not None
    return address


def test_what_the_pages_show(run: Path, shards: ShardSet) -> None:
    address = address_of(run)
    logged = log_model(address, str(run / "best.pt"))
    assert not log_model(address, str(run / "best.pt")).is_new  # as when a finished training is started again
    client = MlflowClient(address.tracking_uri)
    model = client.get_logged_model(logged.model_id)
    assert str(model.status) == "READY"
    assert model.params["clips"] == "float32 (N, 3, 4, 32, 32)"
    assert model.params["test"] == "all clips without overlap x the centre crop, mean of the logits"
    info = mlflow.models.get_model_info(model.artifact_location.removeprefix("file://"))
    assert [column["name"] for column in info.signature.outputs.to_dict()] == [
        *("video", "label", "probability", "probabilities")
    ]
    assert info.metadata is not None
    assert info.metadata["labels"] == list(shards.classes)
    found = client.get_run(address.run_id)
    assert found.outputs is not None
    assert found.inputs is not None
    (output,) = found.outputs.model_outputs
    assert output.model_id == logged.model_id
    inputs = {tag.value: given.dataset for given in found.inputs.dataset_inputs for tag in given.tags}
    assert set(inputs) == {"training", "validation"}
    assert {dataset.digest for dataset in inputs.values()} == {shards.content}
    assert json.loads(inputs["validation"].profile or "")["videos"] == 1
    assert json.loads(inputs["training"].source) == {"uri": shards.uri}


def test_every_checkpoint_that_is_kept_is_a_model_of_its_own(
    run: Path, shards: ShardSet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_checkpoint(run / "last.pt", shards, ProtocolRecipe(), seed=1)
    make_checkpoint(run / "epoch-0002.pt", shards, ProtocolRecipe(), seed=2)
    kept = kept_recognizers(str(run), str(run / "best.pt"))
    assert [Path(path).name for path in kept] == ["best.pt", "last.pt", "epoch-0002.pt"]
    address = address_of(run)
    client = MlflowClient(address.tracking_uri)
    for _ in range(2):
        assert keep_models(address, kept)
        outputs = client.get_run(address.run_id).outputs
        assert outputs is not None
        models = [client.get_logged_model(output.model_id) for output in outputs.model_outputs]
        assert sorted(model.name for model in models) == ["best", "epoch-0002", "last"]
        assert {str(model.status) for model in models} == {"READY"}

    def not_known(*_: object, **__: object) -> None:
        raise MlflowException("API request to endpoint failed with error code 404 != 200", ENDPOINT_NOT_FOUND)

    make_checkpoint(run / "last.pt", shards, ProtocolRecipe(), seed=3)
    monkeypatch.setattr(MlflowClient, "create_logged_model", not_known)
    assert keep_models(address, kept)
    assert "too old to know models of runs" in capsys.readouterr().err


def test_a_registered_model_says_what_predict_says(
    run: Path, shards: ShardSet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = str(run / "best.pt")
    for _ in range(2):  # the second time it is known
        assert register.cli([checkpoint, "--name", "gestures", "--alias", "champion"]) == 0
        assert "gestures, version 1: models:/gestures/1, alias champion" in capsys.readouterr().out
    found = MlflowClient(address_of(run).tracking_uri).get_model_version("gestures", "1")
    assert found.description == MlflowClient(address_of(run).tracking_uri).get_registered_model("gestures").description
    assert "**Accuracy**: not known" in (found.description or "")
    assert (found.tags["classes"], found.tags["modality"]) == (str(len(shards.classes)), "rgb")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address_of(run).tracking_uri)
    mlflow.set_tracking_uri(address_of(run).tracking_uri)
    videos = sorted(str(path) for path in Path(shards.uri).parents[1].glob("videos/*/*.mp4"))
    assert predict.cli([*videos, "--checkpoint", checkpoint, "--output", "said"]) == 0
    said = json.loads(Path("said/predictions.json").read_text())
    model = mlflow.pyfunc.load_model("models:/gestures@champion")
    table = model.predict(pd.DataFrame({"video": videos}))
    said = sorted(said["videos"], key=lambda one: str(one["path"]))
    assert [one["path"] for one in said] == table["video"].tolist()
    for row, told in zip(table.to_dict("records"), said, strict=True):
        assert row["label"] == told["top"][0]["class"]
        assert row["probability"] == pytest.approx(told["top"][0]["probability"], rel=1e-5)
        assert sum(row["probabilities"]) == pytest.approx(1)

    network = mlflow.pytorch.load_model("models:/gestures/1")
    recognizer, _ = load_recognizer(checkpoint)
    clips = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 3, 4, 32, 32)).astype(np.float32))
    with torch.inference_mode():
        torch.testing.assert_close(network(clips), recognizer(clips), rtol=1e-4, atol=1e-5)


def test_mistakes(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = str(run / "best.pt")
    (run / "mlflow.json").rename(tmp_path / "kept.json")
    for args, words in (
        ([checkpoint, "--name", "a/b"], "has no / : or quotes"),
        ([str(run / "none.pt"), "--name", "a"], "none.pt"),
        *(([str(run / "none.pt"), "--name", "a", "--alias", word], "--alias") for word in ("v1", "Latest", "a b", "")),
        ([checkpoint, "--name", "a"], "no MLflow run is known here. Say with --tracking-uri"),
    ):
        assert register.cli(args) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
    assert not keep_models(RunAddress("http://127.0.0.1:9", "kinebert", "0"), [checkpoint])
    assert "MLflow did not take the model: http://127.0.0.1:9" in capsys.readouterr().err


def test_a_run_that_mlflow_did_not_take_whole_is_said_by_the_status(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise ConnectionError("gone")

    (run / "mlflow.json").unlink()
    monkeypatch.setattr(register_of_models, "register", lambda *_, **__: ("1", "models:/a/1"))  # it takes half a minute
    monkeypatch.setattr(MlflowClient, "set_terminated", refuse)
    args = [str(run / "best.pt"), "--name", "a", "--tracking-uri", str(tmp_path / "mlflow.db")]
    assert register.cli(args) == NOT_RECORDED
    assert "MLflow did not close the run: gone" in capsys.readouterr().err


def test_a_registered_fusion_says_what_predict_says(
    run: Path,
    shards: ShardSet,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = make_checkpoint(tmp_path / "other" / "best.pt", shards, ProtocolRecipe(clips="multi"), seed=1)
    checkpoints = [str(run / "best.pt"), other]
    for i, checkpoint in enumerate(checkpoints):  # twelve videos of validation, of which most are right
        labels = np.arange(12) % len(shards.classes)
        scores = np.random.default_rng(i).normal(size=(12, len(shards.classes)))
        scores[np.arange(10), labels[:10]] += 2
        place = Path(checkpoint).parent / "split1-val-multi"
        place.mkdir()
        about: About = {"checkpoint": checkpoint_digest(checkpoint), "split": "split1", "part": "val"}
        table = VideoScores(
            video_ids=[f"v{k}" for k in range(12)],
            labels=labels,
            scores=scores.astype(np.float32),
            num_clips=np.ones(12, np.int64),
            classes=list(shards.classes),
            about={**about, "views": "multi", "modality": "rgb"},
        )
        write_scores(str(place / "scores.parquet"), table)
    given = [*checkpoints, "--name", "both", "--weights", "1", "2"]
    assert register.cli(given) == 0
    assert register.cli(given) == 0  # the same fusion is one version
    printed = capsys.readouterr().out
    assert "chosen on 12 videos of split1/val (ECE there" in printed
    assert printed.count("both, version 1: models:/both/1") == 2
    video = str(Path(shards.uri).parents[1] / "videos" / "class0" / "v00.mp4")
    assert predict.cli([video, "--checkpoint", *checkpoints, "--weights", "1", "2"]) == 0
    said = json.loads(Path("predictions/predictions.json").read_text())
    address = address_of(run)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address.tracking_uri)
    mlflow.set_tracking_uri(address.tracking_uri)
    answer = mlflow.pyfunc.load_model("models:/both/1").predict(pd.DataFrame({"video": [video]}))
    assert answer["probabilities"][0] == pytest.approx(said["videos"][0]["probabilities"], rel=1e-6)
    assert answer["label"][0] == said["videos"][0]["top"][0]["class"]
    assert sum(answer["probabilities"][0]) == pytest.approx(1)
    version = MlflowClient(address.tracking_uri).get_model_version("both", "1")
    assert str(version.description).startswith(
        "Fusion of resnet18 + tgap, resnet18 + tgap on rgb, rgb: l2, weights 1, 2"
    )
    assert register.cli([*given[:4], "--weights", "1"]) == 2
    assert "--weights takes one number per checkpoint (2)" in capsys.readouterr().err


def test_a_model_that_looks_for_people_asks_for_their_extra(tmp_path: Path, run: Path) -> None:
    """And its page says that it takes videos; that of poses which somebody else has drawn says that it does not."""
    rows = make_rows(tmp_path / "videos", [5, 6, 7])
    with bright_backend():
        finder = PoseFinder(files={"network": str(write_weights(tmp_path))})
        found = PoseRecipe(backend="bright", weights={"network": SHA256})
        for name, recipe, takes, extra in (
            ("found", found, "paths of videos", "kinebert[pose]=="),
            ("drawn", PoseRecipe(), "no videos", "kinebert=="),
        ):
            shards = make_set(rows, tmp_path / name, recipe, solver=finder if name == "found" else None)
            checkpoint = make_checkpoint(tmp_path / f"{name}.pt", shards, ProtocolRecipe())
            recognizer, info = load_recognizer(checkpoint)
            write_model(tmp_path / f"model_{name}", checkpoint, recognizer, info, Model(), False)
            assert (tmp_path / f"model_{name}" / "requirements.txt").read_text().startswith(extra)
            version, _ = register_of_models.register(address_of(run), checkpoint, name)
            description = MlflowClient(address_of(run).tracking_uri).get_model_version(name, version).description
            assert f"**Input**: {takes}" in (description or "")
